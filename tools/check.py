"""Everything that `make check` judges, one line each with its time; exit 1 when one of them complains.

All of them run even after a failure, so that one call shows everything there is to mend.
"""

import base64
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def production(state: str) -> dict[str, str]:
    """Return the environment of a production process, with keys made for this one check."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "DATABASE_URL": "postgres://gatehouse:unused@127.0.0.1:5432/gatehouse",
        "GATEHOUSE_BASE_URL": "https://gatehouse.example.com",
        "GATEHOUSE_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "GATEHOUSE_ENV": "production",
        "GATEHOUSE_OIDC_PRIVATE_KEY": pem,
        "GATEHOUSE_SECRET_KEY": secrets.token_urlsafe(64),
        "GATEHOUSE_STATE_DIR": state,
        "REDIS_URL": "redis://127.0.0.1:6379",
    }


def plain(state: str) -> dict[str, str]:
    """Return the embedded environment with a state directory of its own, whatever the caller's shell has set."""
    own = ("GATEHOUSE_", "DATABASE_URL", "REDIS_URL", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "GATEHOUSE_STATE_DIR": state}


def run(title: str, command: list[str], environment: dict[str, str]) -> bool:
    """Run one check, print its line and, when it complains, its output; return whether it passed."""
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    passed = done.returncode == 0
    print(f"{'ok  ' if passed else 'FAIL'}  {title}  ({time.monotonic() - begun:.1f} s)", flush=True)
    if not passed:
        print(done.stdout, flush=True)
    return passed


def main() -> int:
    """Run all checks; return the exit code."""
    manage = [sys.executable, "manage.py"]
    with tempfile.TemporaryDirectory(prefix="gatehouse-check-") as state:
        embedded, deployed = plain(state), {**plain(state), **production(state)}
        results = [
            run("format", [str(BIN / "ruff"), "format", "--check", "."], embedded),
            run("lint", [str(BIN / "ruff"), "check", "."], embedded),
            run("types", [str(BIN / "mypy")], embedded),
            run("import layers", [str(BIN / "lint-imports"), "--no-cache"], embedded),
            run("template lint", [str(BIN / "djlint"), "templates", "--lint", "--quiet"], embedded),
            run("templates compile", [sys.executable, "tools/compile_templates.py"], embedded),
            run("migrations complete", [*manage, "makemigrations", "--check", "--dry-run"], embedded),
            run("deploy check", [*manage, "check", "--deploy", "--fail-level", "WARNING"], deployed),
        ]
    print(f"{results.count(True)} of {len(results)} checks passed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
