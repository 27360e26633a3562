"""Empty databases to measure on: SQLite always, PostgreSQL where its binaries are. All of them end with the block."""

import getpass
import glob
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Result

ROOT = Path(__file__).resolve().parent.parent
BINARIES = "/usr/lib/postgresql/*/bin"
# Durability is not what is measured, and the data is thrown away; everything else as Debian ships it, but for memory.
OPTIONS = "-c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=512MB -c work_mem=32MB -c max_wal_size=4GB"


@dataclass(frozen=True)
class Store:
    """A database with the schema of the portal, and the environment of processes that use it."""

    name: str
    env: Mapping[str, str]

    def measure(self, bench: str) -> list[Result]:
        """Run `benchmarks.<bench>.measure` in a process of its own on this database and return what it found."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.child", bench, self.name],
            cwd=ROOT, env=dict(self.env), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return [Result(**item) for item in json.loads(done.stdout.splitlines()[-1])]


def scaled(amount: int) -> int:
    """Return `amount` times BENCH_SCALE (default 1), at least 1: small runs try the benchmarks themselves."""
    return max(1, int(amount * float(os.environ.get("BENCH_SCALE", "1"))))


def repeated(times: int) -> int:
    """Return how often something is timed: `times`, in small runs three times."""
    return times if scaled(1000) >= 1000 else min(times, 3)


@contextmanager
def stores() -> Iterator[list[Store]]:
    """Yield the databases of this machine, each migrated and empty."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)  # the server of PostgreSQL runs as another user
        found = [_migrated("SQLite", Path(folder, "sqlite"), {})]
        binaries = sorted(glob.glob(BINARIES))
        if not binaries:
            print("  no PostgreSQL on this machine: SQLite only", file=sys.stderr, flush=True)
            yield found
            return
        with _postgres(Path(binaries[-1]), Path(folder, "postgres")) as url:
            yield [*found, _migrated("PostgreSQL", Path(folder, "state"), {"DATABASE_URL": url})]


@contextmanager
def sqlite() -> Iterator[Store]:
    """Yield SQLite alone, migrated and empty: for what takes minutes and depends on more than the database."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield _migrated("SQLite", Path(folder, "sqlite"), {})


def _migrated(name: str, state: Path, extra: Mapping[str, str]) -> Store:
    state.mkdir(mode=0o700)
    kept = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    env = {**kept, "GATEHOUSE_STATE_DIR": str(state), "GATEHOUSE_LOG_LEVEL": "ERROR", "PYTHONPATH": str(ROOT), **extra}
    for command in (("migrate",), ("collectstatic", "--no-input")):
        call = [sys.executable, "manage.py", *command, "--verbosity", "0"]
        subprocess.run(call, cwd=ROOT, env=env, check=True, stdout=sys.stderr)
    return Store(name, env)


@contextmanager
def _postgres(binaries: Path, folder: Path) -> Iterator[str]:
    """Run a PostgreSQL of our own, as the user postgres where we are root (it refuses to run as root)."""
    folder.mkdir(mode=0o755)
    data, password = folder / "data", secrets.token_hex(16)
    data.mkdir(mode=0o700)
    secret = folder / "password"
    secret.write_text(password, encoding="ascii")
    prefix: list[str] = []
    if getpass.getuser() == "root":
        subprocess.run(["chown", "-R", "postgres", str(folder)], check=True)
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

    def call(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    call(str(binaries / "initdb"), "-D", str(data), "-U", "bench", "--auth=scram-sha-256", f"--pwfile={secret}",
         "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
    call(str(binaries / "pg_ctl"), "start", "-w", "-D", str(data), "-l", str(data / "log"), "-o",
         f"-p {port} -c unix_socket_directories={data} {OPTIONS}")  # fmt: skip
    try:
        yield f"postgres://bench:{password}@127.0.0.1:{port}/postgres"
    finally:
        call(str(binaries / "pg_ctl"), "stop", "-D", str(data), "-m", "immediate")
