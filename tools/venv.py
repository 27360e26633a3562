"""Make .venv agree with the pinned requirements: `python tools/venv.py runtime|dev`. Standard library only.

A stamp in .venv holds the hash of the requirement files, so a second call costs a few milliseconds. A lock serialises
two `make` at once. The stamp is written last: an interrupted installation is simply done again.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SETS = {"runtime": ["requirements.txt"], "dev": ["requirements.txt", "requirements-dev.txt"]}


def fingerprint(kind: str) -> str:
    """Return the hash of what the set `kind` consists of and of where it lives (scripts hold absolute paths)."""
    digest = hashlib.sha256(str(VENV).encode())
    for name in SETS[kind]:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def stamped(kind: str) -> bool:
    """Return whether .venv already holds the set `kind`; the development set contains the runtime one."""
    kinds = {"runtime": ("runtime", "dev"), "dev": ("dev",)}[kind]
    return any(
        stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint(each)
        for each in kinds
        for stamp in [VENV / f".requirements-{each}"]
    )


def usable() -> bool:
    """Return whether .venv has a Python ≥ 3.11 with pip that starts; an upgrade of the system can take it away."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def create() -> None:
    """Create .venv anew; exits with a sentence where the system's Python lacks the venv module."""
    print(f"Creating .venv with Python {sys.version.split()[0]}", flush=True)
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()
        sys.exit(
            f"gatehouse: {sys.executable} cannot create a virtual environment"
            f"{': ' + last[-1] if last else ''}. On Debian and Ubuntu: apt install python3-venv"
        )


def install(kind: str) -> None:
    """Install the set `kind`; exits with a sentence when pip fails."""
    print(f"Installing {' and '.join(SETS[kind])} into .venv (one or two minutes the first time)", flush=True)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    for name in SETS[kind]:
        command += ["-r", name]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        sys.exit(
            "gatehouse: pip could not install the requirements; its reason stands above. Mend it and run make again."
        )


def main() -> None:
    """Bring .venv up to date for the set named on the command line."""
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in SETS:
        sys.exit("usage: python tools/venv.py runtime|dev")
    if PYTHON.exists() and stamped(kind):
        return
    with open(ROOT / ".venv.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not usable():
            create()
        elif stamped(kind):
            return
        install(kind)
        (VENV / f".requirements-{kind}").write_text(fingerprint(kind), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
