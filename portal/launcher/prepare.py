"""What must be true before the server starts: settings valid, database migrated, demo loaded, static files collected.

Each Django command costs seconds, so prepared.json remembers hashes of what a step depends on, and the step is left out
while they hold. The database itself is asked too: a deleted or restored file differs in its list of applied migrations.
"""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from portal.launcher.children import how_it_ended, tail, tie_to
from portal.launcher.config import BASE_DIR, Config, LauncherError
from portal.launcher.console import Console, Signals

APPS = ("approvals", "audit", "catalog", "endpoints", "portal", "projects", "quotas")


def hash_files(paths: Iterable[Path], extra: str = "") -> str:
    """Return one hash over the names and contents of `paths`, and over `extra`."""
    digest = hashlib.sha256(extra.encode())
    for path in sorted(paths):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # an editor's file that vanished between listing and reading
        digest.update(f"{path.relative_to(BASE_DIR)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def code_hash() -> str:
    """Return the hash of all that decides what `migrate` does: sources (post-migrate hooks included) and packages."""
    sources = [path for app in APPS for path in (BASE_DIR / app).rglob("*.py")]
    return hash_files([*sources, BASE_DIR / "requirements.txt"], sys.version)


def static_hash() -> str:
    """Return the hash of all that decides what `collectstatic` writes."""
    files = [path for path in (BASE_DIR / "static").rglob("*") if path.is_file()]
    return hash_files([*files, BASE_DIR / "requirements.txt", BASE_DIR / "portal" / "settings.py"])


def applied(database: Path) -> tuple[str, str]:
    """Return (hash of the applied migrations, identity of the database) of a SQLite file; empty when there are none.

    The identity is the time of its first migration: a new file has another one.
    """
    if not database.exists():
        return "", ""
    try:
        # Mode rw: WAL needs its side files even for reading, and nothing must be created here.
        connection = sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=5)
        try:
            rows = connection.execute("SELECT app, name, applied FROM django_migrations ORDER BY id").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return "", ""
    if not rows:
        return "", ""
    return hashlib.sha256(repr(rows).encode()).hexdigest(), str(rows[0][2])


def failure(what: str, code: int, printed: list[str]) -> str:
    """Return the sentence for a failed command: its own when it has one, else the end of what it printed."""
    lines = [line for line in printed if line.strip()]
    if lines and lines[-1].startswith("gatehouse: "):
        return lines[-1].removeprefix("gatehouse: ")
    return "\n".join(
        [f"It failed while {what} (the command {how_it_ended(code)}):", *(f"  {line}" for line in lines[-15:])]
    )


class Preparation:
    """Runs the steps that are due and remembers them in prepared.json."""

    def __init__(self, config: Config, environment: Mapping[str, str], console: Console, signals: Signals) -> None:
        self.config = config
        self.environment = environment
        self.console = console
        self.signals = signals
        self.path = config.state / "prepared.json"
        try:
            self.done: dict[str, str] = dict(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self.done = {}

    def run(self) -> str:
        """Do what is due; return what `load_demo` printed ("" when it had nothing to do).

        Raises LauncherError with the sentence of a wrong setting or the end of a failed command, and Stopped when a
        signal asks to stop.
        """
        self.command("reading the settings", "-m", "portal.launcher.preflight")
        self.migrate()
        self.static()
        return self.demo()

    def remember(self, **values: str) -> None:
        """Store what has just been done."""
        self.done.update(values)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.done, indent=2), encoding="utf-8")
        temporary.replace(self.path)

    def migrate(self) -> None:
        """Migrate unless sources, packages and the SQLite file are those of the last time; other databases always."""
        code = code_hash()
        database = self.config.sqlite
        if database is not None:
            rows, _ = applied(database)
            if rows and self.done.get("code") == code and self.done.get("applied") == rows:
                return
        self.console.say("Preparing the database …")
        self.command("migrating the database", "manage.py", "migrate", "--noinput", "--verbosity", "0")
        self.remember(code=code, applied=applied(database)[0] if database is not None else "")

    def static(self) -> None:
        """Collect the static files when they, the packages or the settings changed, or the result is gone."""
        wanted = static_hash()
        if self.done.get("static") == wanted and (self.config.state / "static" / "staticfiles.json").exists():
            return
        self.console.say("Collecting the static files …")
        self.command(
            "collecting static files", "manage.py", "collectstatic", "--noinput", "--clear", "--verbosity", "0"
        )
        self.remember(static=wanted)

    def demo(self) -> str:
        """Load the demo organisation once per database; return what the command printed."""
        if not self.config.demo:
            return ""
        database = self.config.sqlite
        if database is not None:
            _, identity = applied(database)
        else:
            parts = urlsplit(self.config.database_url)
            identity = f"{parts.hostname}:{parts.port}{parts.path}"
        if self.done.get("demo") == identity:
            return ""
        self.console.say("Loading the demo organisation …")
        printed = self.command("loading the demo organisation", "manage.py", "load_demo", keep=False)
        self.remember(demo=identity)
        return printed.strip()

    def command(self, what: str, *arguments: str, keep: bool = True) -> str:
        """Run Python with `arguments` to its end and return its standard output; `keep` also stores it in setup.log.

        Raises LauncherError when it fails, Stopped when a signal asks to stop meanwhile.
        """
        with tempfile.TemporaryFile() as output, open(self.config.logs / "setup.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output if keep else log,
                env=dict(self.environment),
                cwd=BASE_DIR,
                start_new_session=True,
                preexec_fn=tie_to(os.getpid()),
            )
            try:
                while process.poll() is None:
                    self.signals.raise_if_stopped()
                    self.signals.wait(None)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            output.seek(0)
            printed = output.read().decode("utf-8", errors="replace")
            if keep:
                log.write(printed.encode())
        if process.returncode != 0:
            # What load_demo prints may hold the password, so its errors come from the log, where only they went.
            lines = printed.splitlines() if keep else tail(self.config.logs / "setup.log")
            raise LauncherError(failure(what, process.returncode, lines))
        return printed
