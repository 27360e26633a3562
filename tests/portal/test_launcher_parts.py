"""The launcher's parts, with tiny children instead of the portal."""

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from portal.env import EnvError
from portal.launcher import config, prepare, record
from portal.launcher.children import LOOP_DEATHS, Child, how_it_ended, rotate, tail
from portal.launcher.config import LauncherError

SLEEPER = "import time\ntime.sleep(600)\n"


def until(check, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def settings_of(folder: Path, **extra: str) -> config.Config:
    return config.read({"GATEHOUSE_STATE_DIR": str(folder), **extra})


@pytest.fixture
def tmp_path():
    """A short one: the broker's socket lives in a state directory, and the kernel bounds a socket's path."""
    with tempfile.TemporaryDirectory(prefix="gh-") as name:
        yield Path(name)


@pytest.fixture
def make_child(tmp_path):
    made = []

    def make(source: str, run_id: str = "test-run") -> Child:
        child = Child(
            name="sample",
            command=[sys.executable, "-c", source],
            log=tmp_path / "sample.log",
            environment={**os.environ, record.RUN_VARIABLE: run_id},
            folder=tmp_path,
        )
        made.append(child)
        return child

    yield make
    for child in made:
        child.kill_group()


def test_the_state_directory_is_private(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    settings_of(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("logs", "engines", "journal", "keys"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PORT": "many"}, ["PORT", "'many'", "PORT=8000"]),
        ({"PORT": "70000"}, ["PORT", "70000", "65535"]),
        ({"REDIS_URL": "http://cache"}, ["REDIS_URL", "redis://"]),
        ({"DATABASE_URL": "mysql://db/x"}, ["DATABASE_URL", "postgres://"]),
        ({"GATEHOUSE_ENV": "staging"}, ["GATEHOUSE_ENV", "'staging'", "production"]),
    ],
)
def test_a_wrong_variable_is_named_with_a_right_example(tmp_path, variables, words):
    with pytest.raises(EnvError) as caught:
        settings_of(tmp_path, **variables)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_path_too_long_for_a_socket_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(LauncherError, match="too long for the broker's socket"):
        settings_of(tmp_path / ("x" * 100))


def test_a_taken_port_is_named_with_the_fix(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LauncherError) as caught:
            config.listen(settings_of(tmp_path, PORT=str(port)))
    assert f"Port {port} on 127.0.0.1 cannot be used" in str(caught.value)
    assert "make run" in str(caught.value)


def test_only_one_launcher_holds_a_state_directory(tmp_path):
    with record.lock(tmp_path):
        record.Record(pid=4711, url="http://127.0.0.1:8000").write(tmp_path / "run.json")
        with pytest.raises(LauncherError, match=r"process 4711 serves http://127\.0\.0\.1:8000"):
            record.lock(tmp_path)
    record.lock(tmp_path).close()


def test_a_half_written_record_is_none(tmp_path):
    path = tmp_path / "run.json"
    for text in ("", "{", "[]", '{"pid": 1}', '{"children": 3}'):
        path.write_text(text, encoding="utf-8")
        assert record.read(path) is None


def test_members_are_children_and_their_group_but_never_a_stranger(make_child, tmp_path):
    pool = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n{SLEEPER}"
    ours, strangers = make_child(pool, "ours"), make_child(SLEEPER, "theirs")
    ours.start()
    strangers.start()
    mine = record.Record(run_id="ours", children={"sample": ours.identity, "gone": {"pid": ours.group, "start": 1}})
    until(lambda: len(mine.members()) == 2)
    # A pid that was used again: same number, another start time, another run.
    mine.children["reused"] = {"pid": strangers.group, "start": strangers.identity["start"] - 1}
    assert strangers.group not in mine.members()
    killed = mine.kill_members()
    assert ours.group in killed
    until(lambda: not mine.members())
    assert strangers.running


def test_a_record_of_an_earlier_boot_names_nobody(make_child):
    child = make_child(SLEEPER)
    child.start()
    run = record.Record(run_id="test-run", children={"sample": child.identity}, boot="another-boot")
    assert run.members() == []


def test_a_group_member_is_found_after_its_leader_died(make_child):
    leader = make_child(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n{SLEEPER}")
    leader.start()
    run = record.Record(run_id="test-run", children={"sample": leader.identity})
    until(lambda: len(run.members()) == 2)
    os.kill(leader.group, signal.SIGKILL)
    until(lambda: not leader.running)
    assert len(run.members()) == 1
    leader.died()
    until(lambda: not run.members())


def test_a_child_dies_with_its_launcher(tmp_path):
    launcher = (
        "import os, pathlib, sys, time\n"
        "from portal.launcher.children import Child\n"
        f"command = [sys.executable, '-c', {SLEEPER!r}]\n"
        "child = Child('x', command, pathlib.Path('x.log'), os.environ, pathlib.Path('.'))\n"
        "child.start()\nprint(child.group, flush=True)\ntime.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(config.BASE_DIR)}
    command = [sys.executable, "-c", launcher]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert record.start_time(child)
        process.kill()
    until(lambda: not record.start_time(child))


def test_restarts_wait_longer_each_time_and_a_loop_is_noticed(make_child):
    child = make_child("raise SystemExit(3)")
    delays, verdicts = [], []
    for _ in range(LOOP_DEATHS):
        child.start()
        until(lambda: not child.running)
        how, looping = child.died()
        assert how == "ended with exit code 3"
        delays.append(child.restart_at - time.monotonic())
        verdicts.append(looping)
    assert delays == sorted(delays)
    assert 0 < delays[0] <= 0.2 < delays[-1] <= 5
    assert verdicts == [False] * (LOOP_DEATHS - 1) + [True]


def test_one_that_is_not_vital_takes_nobody_along(make_child):
    child = make_child("raise SystemExit(3)")
    child.vital = False
    for number in range(LOOP_DEATHS + 8):
        child.start()
        until(lambda: not child.running)
        _, looping = child.died()
        assert not looping
        assert child.restart_at - time.monotonic() <= 30.0, number
    assert child.restart_at - time.monotonic() > 10.0


def test_a_child_that_ignores_the_request_is_killed_with_its_group(make_child):
    child = make_child(
        f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n{SLEEPER}"
    )
    child.start()
    until(lambda: tail(child.log) == ["deaf"])
    child.ask_to_stop()
    assert child.running
    child.kill_group()
    assert not child.running


def test_how_it_ended_speaks_of_signals_by_name():
    assert how_it_ended(-9) == "was ended by SIGKILL"
    assert how_it_ended(1) == "ended with exit code 1"


def test_logs_rotate_by_size_and_the_oldest_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("portal.launcher.children.LOG_BYTES", 10)
    log = tmp_path / "server.log"
    for number in range(6):
        log.write_text(f"start number {number}", encoding="utf-8")
        rotate(log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.log.1", "server.log.2", "server.log.3"]
    assert (tmp_path / "server.log.1").read_text(encoding="utf-8") == "start number 5"
    log.write_text("short", encoding="utf-8")
    rotate(log)
    assert log.exists()


def test_a_new_database_file_has_another_identity(tmp_path):
    path = tmp_path / "gatehouse.sqlite3"
    assert prepare.applied(path) == ("", "")
    seen = set()
    for moment in ("2026-01-01", "2026-02-02"):
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE django_migrations (id INTEGER, app TEXT, name TEXT, applied TEXT)")
            connection.execute("INSERT INTO django_migrations VALUES (1, 'audit', '0001_initial', ?)", [moment])
        connection.close()
        seen.add(prepare.applied(path))
    assert len(seen) == 2
    path.write_text("no database at all", encoding="utf-8")
    assert prepare.applied(path) == ("", "")


def test_the_record_is_private_and_complete(tmp_path):
    path = tmp_path / "run.json"
    written = record.Record(pid=os.getpid(), started=record.start_time(os.getpid()), url="http://x", port=8000)
    written.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert record.read(path) == written
    assert json.loads(path.read_text(encoding="utf-8"))["state"] == "starting"
