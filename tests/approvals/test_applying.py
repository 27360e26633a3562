"""`manage.py requests apply`: files of a repository and the requests that stand for them, as often as one likes."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from approvals import services
from approvals.models import Request, RequestFile
from audit.models import Row
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import engineer, make_cluster, make_profile, make_version, request_body

pytestmark = pytest.mark.slow


@pytest.fixture
def asked(org: Org) -> dict[str, Any]:
    make_cluster()
    version, profile = make_version(), make_profile()
    names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": profile.slug}
    return request_body(**names, name="nightly")


def write(directory: Path, name: str, body: dict[str, Any], **metadata: Any) -> Path:
    whole = {
        "apiVersion": "gatehouse/v1", "kind": "Request", "metadata": {"name": name} | metadata, "spec": body,
    }  # fmt: skip
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def apply(directory: Path, *options: str, user: str = "dana") -> str:
    out = io.StringIO()
    call_command("requests", "apply", str(directory), "--as", user, *options, stdout=out)
    return out.getvalue()


def test_the_second_run_changes_nothing(org: Org, asked: dict[str, Any], tmp_path: Path) -> None:
    """A draft first; a change shows both values; sending is asked for."""
    write(tmp_path, "nightly", asked)
    assert "created R-" in apply(tmp_path) and Request.objects.get().state == "draft"
    rows = Row.objects.count()
    assert "unchanged R-" in apply(tmp_path) and Row.objects.count() == rows
    write(tmp_path, "nightly", asked | {"replicas": 2})
    said = apply(tmp_path)
    assert "changed R-" in said and "replicas: 1 → 2" in said
    assert "sent R-" in apply(tmp_path, "--submit") and Request.objects.get().state == "submitted"
    assert "unchanged R-" in apply(tmp_path, "--submit") and Request.objects.count() == 1
    assert Row.objects.filter(action="approvals.apply", actor=Principal.of(org.dana).key).count() == 1


def test_a_dry_run_says_the_same_and_does_nothing(asked: dict[str, Any], tmp_path: Path) -> None:
    """Failing checks included."""
    write(tmp_path, "nightly", asked)
    assert "would be created nightly.yaml: It is sent." in apply(tmp_path, "--submit", "--dry-run")
    assert Request.objects.count() == 0 and RequestFile.objects.count() == 0
    write(tmp_path, "nightly", asked | {"context_tokens": 1_000_000})
    with pytest.raises(CommandError, match="1 of 1 files were refused"):
        apply(tmp_path, "--submit", "--dry-run")


def test_what_is_sent_changes_only_after_a_reviewer_asks(org: Org, asked: dict[str, Any], tmp_path: Path) -> None:
    """Then the file is the change, and it is sent again."""
    write(tmp_path, "nightly", asked)
    apply(tmp_path, "--submit")
    write(tmp_path, "nightly", asked | {"replicas": 2})
    with pytest.raises(CommandError):
        apply(tmp_path, "--submit")
    made = Request.objects.get()
    assert made.body["replicas"] == 1
    services.request_changes(engineer(), made, reason="Two replicas, please.")
    assert "sent R-" in apply(tmp_path, "--submit")
    made.refresh_from_db()
    assert (made.state, made.submission, made.body["replicas"]) == ("submitted", 2, 2)


def test_a_decided_request_stays_and_a_closed_one_is_asked_anew(
    org: Org, asked: dict[str, Any], tmp_path: Path
) -> None:
    """Rejected: the same file is not sent again; a different one is."""
    write(tmp_path, "nightly", asked)
    apply(tmp_path, "--submit")
    first = Request.objects.get()
    services.reject(engineer(), first, reason="Not now.")
    assert f"unchanged {first.number}" in apply(tmp_path, "--submit") and Request.objects.count() == 1
    write(tmp_path, "nightly", asked | {"replicas": 2})
    assert f"{first.number} is over" in apply(tmp_path, "--submit")
    second = Request.objects.latest("pk")
    services.approve(engineer(), second)
    assert f"unchanged {second.number}" in apply(tmp_path, "--submit")
    write(tmp_path, "nightly", asked | {"replicas": 3})
    with pytest.raises(CommandError):
        apply(tmp_path, "--submit")
    assert Request.objects.count() == 2


def test_one_wrong_file_does_not_stop_the_others(asked: dict[str, Any], tmp_path: Path) -> None:
    """Each is said with its reason; links out of the directory and second files of a name are refused."""
    write(tmp_path, "good", asked | {"name": "good"})
    (tmp_path / "nameless.yaml").write_text(yaml.safe_dump(asked))
    (tmp_path / "bomb.yaml").write_text("a: &a [1]\nb: *a\n")
    (tmp_path / "again.yml").write_text((tmp_path / "good.yaml").read_text())
    outside = tmp_path.parent / f"{tmp_path.name}-outside.yaml"
    outside.write_text("secret: 1\n")
    (tmp_path / "link.yaml").symlink_to(outside)
    out = io.StringIO()
    with pytest.raises(CommandError, match="4 of 5"):
        call_command("requests", "apply", str(tmp_path), "--as", "dana", stdout=out)
    said = out.getvalue()
    assert "metadata.name is missing" in said and "aliases" in said and "stands in again.yml" in said
    assert "leads out of the directory" in said and "secret" not in said
    assert Request.objects.filter(name="good").count() == 1


def test_a_file_that_asks_for_a_draft_stays_one(asked: dict[str, Any], tmp_path: Path) -> None:
    """Also where everything else is sent."""
    write(tmp_path, "nightly", asked, draft=True)
    apply(tmp_path, "--submit")
    assert Request.objects.get().state == "draft"


def test_files_of_one_person_are_not_those_of_another(org: Org, asked: dict[str, Any], tmp_path: Path) -> None:
    """Each has requests of their own; whoever may not ask gets a refusal."""
    write(tmp_path, "nightly", asked)
    apply(tmp_path)
    apply(tmp_path, user="omar")
    assert {one.person for one in RequestFile.objects.all()} == {org.dana, org.omar}
    with pytest.raises(CommandError, match="1 of 1"):
        apply(tmp_path, user="vic")
    with pytest.raises(CommandError, match="no active user"):
        apply(tmp_path, user="nobody")


def test_a_directory_without_files_is_an_error(org: Org, tmp_path: Path) -> None:
    """So that a wrong path is not taken for success."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CommandError):
            apply(path)
