"""Probes out of process: whatever one does, the caller gets an answer or a reason, in time, and nothing is left."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from catalog.evidence import sandbox
from catalog.evidence.sandbox import Limits, ProbeFailed

pytestmark = pytest.mark.slow
QUICK = Limits(seconds=20, cpu_seconds=10)


@pytest.fixture
def probe(tmp_path, monkeypatch, settings):
    """Run a probe with the given body; `content` and `question` are in its reach."""
    settings.STATE_DIR = tmp_path / "state"
    package = tmp_path / "bad"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(sandbox, "ROOT", tmp_path)
    monkeypatch.setattr(sandbox, "PACKAGE", "bad")

    def run(body: str, content: bytes = b"", limits: Limits = QUICK, **question):
        text = "def answer(content, question):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        (package / "probe.py").write_text(text)
        with sandbox.scratch() as file:
            file.write(content)
            return sandbox.ask("probe", file, question, limits)

    return run


def test_a_probe_reads_the_content_and_the_question(probe):
    answer = probe("return {'size': len(content.read()), 'name': question['name']}", b"abc", name="x")
    assert answer.body == {"size": 3, "name": "x"} and answer.network in {"removed", "shared"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os; os.abort()", "crashed"),
        ("import os; os._exit(0)", "no answer that can be read"),
        ("import os; os.kill(os.getpid(), 9)", "computing time or memory"),
        ("return 'text'", "no answer that can be read"),
        ("return {'x': object()}", "crashed"),
        ("raise ValueError('of the file')", "ValueError: of the file"),
        ("raise SystemExit(0)", "no answer|crashed"),
        ("return {'x': 'y' * 9_000_000}", "answered more than it may"),
        ("bytearray(3 * 2**30)", "more memory"),
        ("def deep(): return deep()\ndeep()", "nested too deeply"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_what_goes_wrong_is_a_reason(probe, body, reason):
    with pytest.raises(ProbeFailed, match=reason):
        probe(body)


def test_time_is_limited_by_the_clock_and_by_computing(probe):
    with pytest.raises(ProbeFailed, match="longer than 1 seconds"):
        probe("import time; time.sleep(60)", limits=Limits(seconds=1))
    with pytest.raises(ProbeFailed, match="more computing time"):
        probe("while True: pass", limits=Limits(seconds=30, cpu_seconds=1))


def test_a_probe_writes_no_file(probe, tmp_path):
    target = tmp_path / "written"
    answer = probe(
        """
        try:
            with open(question['path'], 'wb') as file:
                file.write(b'x' * 10)
        except OSError as error:
            return {'error': error.errno}
        return {}
        """,
        path=str(target),
    )
    assert answer.body == {"error": 27} and (not target.exists() or not target.read_bytes())


def test_a_probe_has_no_environment_and_no_files_of_the_worker(probe, monkeypatch):
    monkeypatch.setenv("GATEHOUSE_SECRET_KEY", "a secret of the worker")
    with socket.socket() as open_socket:
        answer = probe(
            """
            import os
            return {'names': sorted(os.environ), 'files': len(os.listdir('/proc/self/fd')), 'cwd': os.getcwd()}
            """
        )
        assert open_socket.fileno() >= 0
    assert not any("GATEHOUSE" in name for name in answer.body["names"])
    assert answer.body["files"] <= 6 and answer.body["cwd"] == "/"


def test_a_probe_reaches_no_network_where_the_kernel_allows_it(probe):
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = probe(
            """
            import socket
            try:
                socket.create_connection(('127.0.0.1', question['port']), 2).close()
            except OSError:
                return {'reached': False}
            return {'reached': True}
            """,
            port=server.getsockname()[1],
        )
    assert answer.body["reached"] == (answer.network == "shared"), "the report says what was the case"


def test_what_libraries_print_is_no_answer(probe):
    assert probe("print('{\"answer\": {}}', flush=True); return {'x': 1}").body == {"x": 1}


def test_what_nobody_sees_is_taken_out_of_an_answer(probe):
    body = probe("return {'a\\x00': ['\\u202eb', '\\ud800']}").body
    assert body == {"a�": ["�b", "�"]}


def test_nothing_is_left_running(probe):
    with pytest.raises(ProbeFailed):
        probe("import time; time.sleep(60)", limits=Limits(seconds=1))
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            assert str(sandbox.ROOT).encode() not in words


PARENT = """
import json, os, subprocess, sys
root, child = sys.argv[1:]
limits = {"memory_bytes": 2**30, "cpu_seconds": 60, "parent": os.getpid()}
command = [sys.executable, "-I", "-B", child, root, "bad", "probe", json.dumps({"limits": limits})]
started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
started.stderr.readline()  # the probe runs by now, and so stands behind its fence
print(started.pid, flush=True)
started.wait()
"""


def test_a_probe_dies_with_its_worker(tmp_path):
    package = tmp_path / "bad"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "probe.py").write_text(
        "import time\ndef answer(content, question):\n    print('here', flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(sandbox.CHILD)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert _alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
