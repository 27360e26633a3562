"""What leaves the portal, as the environment says it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal import env

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", None),
        ("smtp://mail", env.MailServer("mail", 25, "", "", "")),
        ("smtps://mail", env.MailServer("mail", 465, "", "", "tls")),
        ("smtp+starttls://a%40b:p%3Aw@mail:2525/", env.MailServer("mail", 2525, "a@b", "p:w", "starttls")),
    ],
)
def test_mail_servers(url: str, expected: env.MailServer | None) -> None:
    assert env.smtp(url) == expected


@pytest.mark.parametrize(
    "url", ["mail:25", "http://mail", "smtp://", "smtp://mail:port", "smtp://mail/x", "smtp://m?a=b"]
)
def test_wrong_mail_servers_name_the_variable(url: str) -> None:
    with pytest.raises(env.EnvError, match="GATEHOUSE_SMTP_URL must be"):
        env.smtp(url)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "http://x", "10.0.0.300", "a b", "*", "x/y", "-x"])
def test_wrong_targets_name_the_variable(text: str) -> None:
    with pytest.raises(env.EnvError, match="GATEHOUSE_WEBHOOK_ALLOW holds"):
        env.targets("GATEHOUSE_WEBHOOK_ALLOW", env={"GATEHOUSE_WEBHOOK_ALLOW": text})


def test_targets() -> None:
    text = "10.0.0.0/8, fd00::/8,10.1.2.3, Hooks.Example.com,*.corp.example.com, localhost"
    assert env.targets("X", env={"X": text}) == [
        "10.0.0.0/8", "fd00::/8", "10.1.2.3", "hooks.example.com", "*.corp.example.com", "localhost",
    ]  # fmt: skip


ASK = "from portal import settings as s; print(s.MAIL_ON, s.EMAIL_BACKEND.split('.')[-2], s.OUTBOUND_HTTP)"


def _settings(tmp_path: Path, **variables: str) -> str:
    base = {"PATH": os.environ["PATH"], "GATEHOUSE_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=base | variables, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_the_embedded_stack_prints_mails(tmp_path: Path) -> None:
    assert _settings(tmp_path) == "True console True"
    assert _settings(tmp_path, GATEHOUSE_SMTP_URL="smtp://mail") == "True smtp True"


def test_production_sends_no_mail_unless_told_where(tmp_path: Path) -> None:
    _settings(tmp_path)  # makes keys, which production does not
    least = {
        "GATEHOUSE_ENV": "production",
        "GATEHOUSE_BASE_URL": "https://gatehouse.example.com",
        "GATEHOUSE_SECRET_KEY_FILE": f"{tmp_path}/keys/secret_key",
        "GATEHOUSE_ENCRYPTION_KEYS_FILE": f"{tmp_path}/keys/encryption_key",
        "GATEHOUSE_OIDC_PRIVATE_KEY_FILE": f"{tmp_path}/keys/oidc.pem",
        "DATABASE_URL": "postgres://gatehouse@db/gatehouse",
        "REDIS_URL": "redis://cache",
    }
    assert _settings(tmp_path, **least) == "False dummy False"
    least["GATEHOUSE_SMTP_URL"] = "smtp://mail"
    assert "GATEHOUSE_MAIL_FROM is not set" in _settings(tmp_path, **least)
    least["GATEHOUSE_MAIL_FROM"] = "gatehouse@example.com"
    assert _settings(tmp_path, **least) == "True smtp False"


@pytest.mark.parametrize(
    "text", ["models.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?a", "http://x:0"]
)
def test_wrong_servers_name_the_variable(text: str) -> None:
    with pytest.raises(env.EnvError, match="GATEHOUSE_HUB_URL must be"):
        env.origin("GATEHOUSE_HUB_URL", text)


def test_servers() -> None:
    assert (
        env.origin("X", "https://Hub.Example.com/sub/") == "https://Hub.Example.com/sub" and env.origin("X", "") == ""
    )
    assert env.host("https://Hub.Example.com:8443/sub") == ["hub.example.com"] and env.host("") == []


@pytest.mark.parametrize("entries", [["models"], ["models=srv"], ["=/srv"], ["a b=/srv"], ["a=/x", "a=/y"], ["A=/x"]])
def test_wrong_directories_name_the_variable(entries: list[str]) -> None:
    with pytest.raises(env.EnvError, match="GATEHOUSE_SOURCE_DIRS holds"):
        env.directories("GATEHOUSE_SOURCE_DIRS", entries)


def test_directories() -> None:
    found = env.directories("X", ["models=/srv/models/", "scratch=/mnt/../mnt/scratch"])
    assert found == {"models": Path("/srv/models"), "scratch": Path("/mnt/scratch")}
