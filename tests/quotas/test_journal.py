"""The journal: one line a record, never half of one; a full disk refuses calls before they are forwarded."""

import errno
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from quotas.journal import Journal, JournalFull, is_alive
from tests.quotas.conftest import call, finished, started


def lines(journal: Journal) -> list[dict[str, Any]]:
    path = journal._directory / f"{journal.gateway}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_call_is_two_records_and_the_end_says_all(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        call(journal)
        head, start, end = lines(journal)
        assert head["gateway"] == journal.gateway and head["pid"] == os.getpid()
        assert (start["s"], start["t"], end["s"], end["t"]) == (1, "start", 1, "end")
        assert end["at"] == start["at"] == "2026-11-20T12:00:00Z"
        assert {name: end[name] for name in ("key", "project_id", "output_tokens")} == {
            "key": "gth_abcdefgh", "project_id": 1, "output_tokens": 20,
        }  # fmt: skip
        assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700


def test_the_lock_says_whether_the_gateway_lives(tmp_path):
    journal = Journal(tmp_path)
    path = tmp_path / f"{journal.gateway}.jsonl"
    assert is_alive(path)
    assert is_alive(path)  # asking does not change the answer
    journal.close()
    journal.close()
    assert not is_alive(path)
    assert not is_alive(tmp_path / "gone.jsonl")
    with pytest.raises(ValueError, match="closed"):
        journal.start(**started())


def test_the_lock_ends_with_the_process_however_it_ends(tmp_path):
    code = (
        "import os,sys,pathlib; from quotas.journal import Journal; j=Journal(pathlib.Path(sys.argv[1]));"
        "j.start(request_id='r'); os.write(1, j.gateway.encode()); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False)
    path = tmp_path / f"{done.stdout.decode()}.jsonl"
    assert done.returncode == -9
    assert not is_alive(path)
    assert len(path.read_bytes().splitlines()) == 2


def test_ending_a_call_twice_is_a_mistake(tmp_path):
    with Journal(tmp_path) as journal:
        sequence = journal.start(**started())
        journal.end(sequence, **finished())
        with pytest.raises(KeyError):
            journal.end(sequence, **finished())


def test_a_full_disk_refuses_the_start_and_leaves_no_half_line(tmp_path, monkeypatch):
    with Journal(tmp_path) as journal:
        call(journal)
        before = lines(journal)

        write = os.write

        def torn(fd: int, data: bytes) -> int:
            return write(fd, data[:25])

        monkeypatch.setattr(os, "write", torn)
        with pytest.raises(JournalFull):
            journal.start(**started())
        monkeypatch.undo()
        assert lines(journal) == before
        assert journal.start(**started()) == 2


def test_a_full_disk_does_not_fail_a_served_call_but_stops_the_next(tmp_path, monkeypatch):
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path) as journal:
        sequence = journal.start(**started())
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            journal.end(sequence, **finished())
            with pytest.raises(JournalFull, match="No space left"):
                journal.start(**started())
        assert journal.start(**started()) == 2
        assert [(one["s"], one["t"]) for one in lines(journal)[1:]] == [(1, "start"), (1, "end"), (2, "start")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_a_journal_that_cannot_be_begun_says_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalFull, match="no journal can be begun"):
        Journal(tmp_path / "file")


def test_a_long_file_is_left_behind_and_ends_with_its_last_open_call(tmp_path):
    with Journal(tmp_path, segment_bytes=300) as journal:
        first = journal.gateway
        long = journal.start(**started())
        other = journal.start(**started())
        second = journal.gateway
        assert second != first and other == long + 1
        assert is_alive(tmp_path / f"{first}.jsonl")
        journal.end(other, **finished())
        assert is_alive(tmp_path / f"{first}.jsonl")
        journal.end(long, **finished())
        assert not is_alive(tmp_path / f"{first}.jsonl")
        assert is_alive(tmp_path / f"{second}.jsonl")
        texts = {path.stem: path.read_text() for path in tmp_path.glob("*.jsonl")}
        assert texts[first].count('"t":"end"') == texts[second].count('"t":"end"') == 1


def test_many_threads_write_whole_lines(tmp_path, in_threads):
    def many() -> None:
        for _ in range(50):
            call(journal)

    with Journal(tmp_path, segment_bytes=20_000) as journal:
        in_threads(8, lambda number: many())
        seen = []
        for path in tmp_path.glob("*.jsonl"):
            seen += [json.loads(line) for line in path.read_bytes().splitlines()]
    ends = [one["s"] for one in seen if one.get("t") == "end"]
    assert sorted(ends) == list(range(1, 401))
