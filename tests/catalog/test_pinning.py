"""Pins: resolved once, verified later, through a hub that lies, breaks off or moves, and through killed workers."""

import copy
import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from audit.models import Row
from catalog import evidence, reading, services, verification
from catalog.models import Evidence, Job, Pin, PinState, Version, VersionState
from catalog.pinning import work
from catalog.sources.tree import SourceDenied, SourceError
from portal.errors import Conflict
from portal.http import digest
from portal.states import move
from projects.models import Notification
from tests.catalog.source_kit import COMMIT, CUT, OTHER_COMMIT, Remote, hub_server, sha256
from tests.conftest import Org
from tests.factories import FACTS, lead, make_asset

pytestmark = pytest.mark.django_db

WEIGHTS = bytes(range(256)) * 256
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "onnx/model.bin": b"other"}
LISTED = [{"path": path, "bytes": len(body), "sha256": sha256(body)} for path, body in sorted(FILES.items())]
RUNTIME = {"engine": "vllm", "command": ["vllm", "serve", "{model}"]}


@pytest.fixture
def hub(settings: Any) -> Any:
    with hub_server(files=dict(FILES)) as remote:
        settings.HUB_URL, settings.OUTBOUND_HTTP, settings.SOURCE_IDLE_SECONDS = remote.url, False, 1
        settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "hub": ["127.0.0.1"]}
        yield remote


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """The same files in a directory."""
    settings.SOURCE_DIRS = {"models": tmp_path}
    for path, body in FILES.items():
        (tmp_path / "granite" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "granite" / path).write_bytes(body)
    return tmp_path / "granite"


def version_of(source: str) -> Version:
    """A draft whose content lies at `source`."""
    return Version.objects.create(
        asset=make_asset(), version="1.0", source=source, licence="Apache-2.0", runtime=RUNTIME, needs={}, facts=FACTS
    )


def approved(version: Version) -> None:
    """Let it into the catalog, whatever its evidence: what is tested here comes after."""
    for source, target in (("draft", "in_review"), ("in_review", "approved")):
        move(Version.objects.filter(pk=version.pk), source, target)
    Version.objects.filter(pk=version.pk).update(approved_at=timezone.now())
    version.refresh_from_db()


def pin_evidence(version: Version) -> Evidence:
    return Evidence.objects.filter(version=version, kind="pin").latest("id")


def rows(action: str) -> list[Any]:
    return list(Row.objects.filter(action=action).order_by("id"))


def rewind(version: Version, hours: int = 100) -> None:
    """Let the last look lie in the past."""
    past = timezone.now() - dt.timedelta(hours=hours)
    Pin.objects.filter(version=version).update(verified_at=past)
    Job.objects.filter(version=version).update(finished_at=past, due_at=None)


# --- The first time ---------------------------------------------------------------------------------------------------


def test_a_branch_becomes_a_commit_and_a_list_of_files(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    hub.cdn = "/cdn"
    pin = work(version)
    assert (pin.state, pin.revision, pin.files, pin.total_bytes) == (PinState.RESOLVED, COMMIT, LISTED, 65_549)
    assert pin.digest == digest(LISTED) and pin.progress == {} and pin.resolved_at and pin.verified_at
    assert pin_evidence(version).verdict == "pass"
    row = rows("catalog.pin")[0]
    assert (row.actor, row.object_id) == ("system:catalog", str(version.pk)) and pin.digest in row.after
    assert COMMIT in row.after and len(rows("catalog.pin")) == 1


def test_a_directory_has_files_and_no_commit(folder: Path) -> None:
    pin = work(version_of(f"file://{folder}"))
    assert (pin.state, pin.revision, pin.files, pin.digest) == (PinState.RESOLVED, "", LISTED, digest(LISTED))


def test_a_file_that_breaks_off_is_taken_up_in_the_middle(hub: Remote) -> None:
    hub.cut["model.safetensors"] = 3
    assert work(version_of("hf://org/model@main")).files == LISTED
    ranges = [headers.get("range") for path, headers in hub.log if path.endswith("safetensors")]
    assert ranges == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-", f"bytes={3 * CUT}-"]


def test_a_hub_without_ranges_is_read_from_the_beginning(hub: Remote) -> None:
    hub.cut["model.safetensors"], hub.ranges = 1, False
    assert work(version_of("hf://org/model@main")).files == LISTED


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        ({"served": {"model.safetensors": WEIGHTS[::-1]}}, "another file when it is read: its SHA-256"),
        ({"served": {"model.safetensors": WEIGHTS + b"x"}}, "it goes on after the 65,536 bytes"),
        ({"served": {"config.json": b"{}"}}, "it ended after 2 of the 8 bytes"),
        ({"claims": {"model.safetensors": "0" * 64}}, "the source lists 000000000000"),
        ({"names": []}, "holds no files"),
        ({"names": [{"rfilename": "../../etc/passwd", "size": 1}]}, "leads outside"),
        ({"cdn": "http://169.254.169.254"}, "GATEHOUSE_HUB_ALLOW"),
        ({"answers": {"/api/models/org/model/revision/main": (404, {}, b"")}}, "is not there"),
    ],
)  # fmt: skip
def test_a_hub_that_lies_ends_in_a_verdict(hub: Remote, lie: dict[str, Any], sentence: str) -> None:
    for name, value in lie.items():
        setattr(hub, name, value)
    version = version_of("hf://org/model@main")
    pin = work(version)
    assert pin.state == PinState.FAILED and sentence in pin.sentence
    assert (pin.digest, pin.files, pin.revision, pin.progress) == ("", [], "", {})
    assert (pin_evidence(version).verdict, pin_evidence(version).summary) == ("fail", pin.sentence)
    assert rows("catalog.pin_failed")[0].reason == pin.sentence


@pytest.mark.parametrize(
    "answer",
    [
        (503, {}, b""),
        (200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"),
        (200, {"Content-Length": "9"}, b""),
    ],
)
def test_a_hub_that_is_away_is_asked_again_later(hub: Remote, answer: Any) -> None:
    hub.answers["/api/models/org/model/revision/main"] = answer
    version = version_of("hf://org/model@main")
    with pytest.raises(SourceError) as caught:
        work(version)
    pin = Pin.objects.get(version=version)
    assert (pin.state, pin.sentence) == (PinState.PENDING, str(caught.value))
    hub.answers.clear()
    assert (work(version).state, work(version).sentence) == (PinState.RESOLVED, "")


def test_too_large(hub: Remote, settings: Any) -> None:
    settings.MODEL_BYTES = 1000
    pin = work(version_of("hf://org/model@main"))
    assert pin.state == PinState.FAILED and "GATEHOUSE_MODEL_BYTES" in pin.sentence
    assert not any("resolve" in path for path in hub.asked)


def test_what_failed_can_be_tried_again(hub: Remote) -> None:
    hub.claims["model.safetensors"] = "0" * 64
    version = version_of("hf://org/model@main")
    assert work(version).state == PinState.FAILED
    assert work(version).state == PinState.FAILED
    hub.claims.clear()
    assert work(version).state == PinState.RESOLVED


def test_a_directory_that_changes_while_it_is_read_is_read_again_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two halves of two models would make a third one that nobody has seen."""
    version = version_of(f"file://{folder}")
    monkeypatch.setattr("catalog.reading.SAVE_SECONDS", 0.0)

    calls = iter(range(3))

    def meddle() -> None:
        if next(calls) == 1:  # when the first file is read, and the second one is not
            (folder / "config.json").write_bytes(b'{"a": 2}')

    with pytest.raises(SourceError, match="changed while they were read"):
        work(version, meddle)
    assert work(version).state == PinState.RESOLVED


# --- Workers that die -------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of the process: what comes after does not happen."""


def kill_at(number: int) -> Any:
    calls = iter(range(1, 100))

    def renew() -> None:
        if next(calls) == number:
            raise Killed

    return renew


def test_a_killed_worker_goes_on_after_the_last_finished_file(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.reading.SAVE_SECONDS", 0.0)
    version = version_of("hf://org/model@main")
    with pytest.raises(Killed):
        work(version, kill_at(2))  # in the middle of the second file
    pin = Pin.objects.get(version=version)
    assert [file["path"] for file in pin.progress["files"]] == ["config.json"]
    assert pin.progress["of"] == 65_549 and 8 < pin.progress["bytes"] <= 65_549 and pin.state == PinState.PENDING
    hub.log.clear()
    assert work(version).files == LISTED
    assert [path.rpartition("/")[2] for path in hub.asked if "resolve" in path] == ["model.safetensors", "model.bin"]


def test_what_changed_meanwhile_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same name, same length, same times: the inode tells."""
    monkeypatch.setattr("catalog.reading.SAVE_SECONDS", 0.0)
    version = version_of(f"file://{folder}")
    with pytest.raises(Killed):
        work(version, kill_at(2))
    (folder / "config.json").write_bytes(b'{"a": 2}')
    assert work(version).files[0]["sha256"] == sha256(b'{"a": 2}')


def test_another_commit_meanwhile_begins_anew(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.reading.SAVE_SECONDS", 0.0)
    version = version_of("hf://org/model@main")
    with pytest.raises(Killed):
        work(version, kill_at(2))
    hub.commit, hub.files["config.json"] = OTHER_COMMIT, b'{"a": 2}'
    pin = work(version)
    assert (pin.revision, pin.files[0]["sha256"]) == (OTHER_COMMIT, sha256(b'{"a": 2}'))


def test_progress_of_last_week_counts_no_more(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.reading.SAVE_SECONDS", 0.0)
    version = version_of("hf://org/model@main")
    with pytest.raises(Killed):
        work(version, kill_at(3))
    pin = Pin.objects.get(version=version)
    old = (timezone.now() - dt.timedelta(days=2)).isoformat()
    Pin.objects.filter(pk=pin.pk).update(progress={**pin.progress, "begun": old})
    hub.log.clear()
    work(version)
    assert len([path for path in hub.asked if "resolve" in path]) == 3


# --- What is pinned stays ---------------------------------------------------------------------------------------------


def test_a_pin_never_changes(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    before = copy.copy(work(version))
    hub.commit, hub.files["config.json"] = OTHER_COMMIT, b"[]"
    for _ in range(2):
        after = work(version)
        assert (after.revision, after.digest, after.files) == (before.revision, before.digest, before.files)
    assert (after.total_bytes, after.resolved_at) == (before.total_bytes, before.resolved_at)


def test_who_comes_second_overwrites_nothing(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lost its claim and does not know it yet, with other content in hand."""
    version = version_of("hf://org/model@main")
    second = [True]

    def read(*args: Any, **more: Any) -> Any:
        files = reading.read(*args, **more)
        if second:
            second.clear()
            work(version)
        return [*files[:-1], {**files[-1], "sha256": "f" * 64}]

    monkeypatch.setattr("catalog.pinning.read", read)
    first = work(version)
    assert first.files != LISTED and len(rows("catalog.pin")) == 1
    monkeypatch.undo()
    assert Pin.objects.get(version=version).digest == first.digest


# --- Later ------------------------------------------------------------------------------------------------------------


def test_the_same_content_is_noted(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    first = work(version)
    rewind(version)
    hub.log.clear()
    again = work(version)
    assert again.state == PinState.RESOLVED and again.verified_at and first.verified_at
    assert again.verified_at > first.verified_at and len(rows("catalog.verify")) == 1
    assert len([path for path in hub.asked if "resolve" in path]) == 3  # every byte


def drift_of(version: Version) -> tuple[str, dict[str, Any], str]:
    pin = work(version)
    named = {key: value for key, value in pin.drift.items() if value}
    return pin.state, named, pin.sentence


def change_byte(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"\0")


@pytest.mark.parametrize(
    ("change", "drift", "sentence"),
    [
        (change_byte, {"changed": ["model.safetensors"]}, "1 file changed (model.safetensors)."),
        (lambda folder: (folder / "config.json").unlink(),
         {"missing": ["config.json"]}, "1 file missing (config.json)."),
        (lambda folder: (folder / ".git").write_text("x"), {"extra": [".git"]}, "1 file added (.git)."),
        (lambda folder: (folder / "config.json").rename(folder / "Config.json"),
         {"missing": ["config.json"], "extra": ["Config.json"]},
         "1 file missing (config.json); 1 file added (Config.json)."),
        (lambda folder: folder.rename(folder.parent / "away"), {"why": "The source is gone: “granite” is not there."},
         "The source is gone: “granite” is not there."),
        (lambda folder: (folder / "x").symlink_to("/etc/passwd"),
         {"why": "“x” is a symbolic link. A version holds plain files only."},
         "“x” is a symbolic link. A version holds plain files only."),
    ],
    ids=["one byte", "missing", "extra", "renamed", "gone", "link"],
)  # fmt: skip
def test_drift_of_a_directory(folder: Path, change: Any, drift: dict[str, Any], sentence: str) -> None:
    version = version_of(f"file://{folder}")
    work(version)
    change(folder)
    assert drift_of(version) == (PinState.DRIFTED, drift, sentence)
    assert (pin_evidence(version).verdict, pin_evidence(version).summary) == ("fail", sentence)
    row = rows("catalog.drift")[0]
    assert row.reason == sentence and "granite" not in row.before


def test_a_byte_that_changed_under_the_old_times_is_found(folder: Path) -> None:
    """Times can be set back; the bytes are read."""
    version, path = version_of(f"file://{folder}"), folder / "model.safetensors"
    work(version)
    times = path.stat()
    change_byte(folder)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert drift_of(version)[1] == {"changed": ["model.safetensors"]}


def test_a_branch_that_moved_is_drift(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    work(version)
    hub.commit = OTHER_COMMIT
    hub.files |= {"model.safetensors": WEIGHTS[::-1], "new.txt": b"new"}
    del hub.files["config.json"]
    state, drift, sentence = drift_of(version)
    assert state == PinState.DRIFTED and drift == {
        "revision": OTHER_COMMIT, "changed": ["model.safetensors"], "missing": ["config.json"], "extra": ["new.txt"],
    }  # fmt: skip
    assert sentence.startswith("The source leads to bbbbbbbbbbbbbbbbbbb… by now, pinned was aaaaaaaaaaaaaaaaaaa…")


def test_a_commit_does_not_move_with_its_branch(hub: Remote) -> None:
    version = version_of(f"hf://org/model@{COMMIT}")
    work(version)
    hub.commit = OTHER_COMMIT
    assert work(version).state == PinState.RESOLVED


def test_another_file_at_the_second_read_is_drift(hub: Remote) -> None:
    """The list says what it always said."""
    version = version_of("hf://org/model@main")
    work(version)
    hub.served = {"model.safetensors": WEIGHTS[::-1], "config.json": b'{"a": 9}'}
    assert drift_of(version)[1] == {"changed": ["config.json", "model.safetensors"]}


def test_a_file_that_is_listed_and_gone_is_drift(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    work(version)
    hub.answers[f"/org/model/resolve/{COMMIT}/config.json"] = (404, {}, b"")
    assert drift_of(version)[1] == {"missing": ["config.json"]}


def test_a_repository_that_vanished_is_drift(hub: Remote) -> None:
    version = version_of("hf://org/model@main")
    work(version)
    hub.answers["/api/models/org/model/revision/main"] = (401, {"X-Error-Code": "RepoNotFound"}, b"")
    state, drift, sentence = drift_of(version)
    assert state == PinState.DRIFTED and "The source is gone" in sentence and set(drift) == {"why"}


@pytest.mark.parametrize("answer", [(503, {}, b""), (429, {}, b""), (403, {}, b""), (200, {}, b"<html>")])
def test_what_cannot_be_told_is_no_drift(hub: Remote, answer: Any) -> None:
    version = version_of("hf://org/model@main")
    before = work(version)
    hub.answers["/api/models/org/model/revision/main"] = answer
    with pytest.raises(SourceError) as caught:
        work(version)
    pin = Pin.objects.get(version=version)
    assert (pin.state, pin.verified_at, pin.sentence) == (PinState.RESOLVED, before.verified_at, str(caught.value))


def test_a_host_that_is_not_allowed_any_more_is_no_drift(hub: Remote, settings: Any) -> None:
    version = version_of("hf://org/model@main")
    work(version)
    settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "hub": ["hub.example.com"]}
    with pytest.raises(SourceDenied):
        work(version)
    assert Pin.objects.get(version=version).state == PinState.RESOLVED


def test_drift_ends_when_the_content_is_back(folder: Path) -> None:
    version = version_of(f"file://{folder}")
    work(version)
    change_byte(folder)
    assert work(version).state == PinState.DRIFTED
    assert work(version).state == PinState.DRIFTED
    assert len(rows("catalog.drift")) == 1  # the same drift is said once
    (folder / "extra").write_text("x")
    assert work(version).drift["extra"] == ["extra"] and len(rows("catalog.drift")) == 2
    (folder / "extra").unlink()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    pin = work(version)
    assert (pin.state, pin.drift, pin.sentence, pin.drifted_at) == (PinState.RESOLVED, {}, "", None)
    assert pin_evidence(version).verdict == "pass"


def test_the_checks_of_the_content_are_made_again(folder: Path) -> None:
    """A signature that held over what was pinned may hold no more."""
    version = version_of(f"file://{folder}")
    work(version)
    Job.objects.filter(version=version).update(due_at=None)
    change_byte(folder)
    work(version)
    due = set(Job.objects.filter(version=version, due_at__isnull=False).values_list("kind", flat=True))
    reads = {driver.KIND for driver in evidence.drivers(version, content=True) if driver.CONTENT}
    assert due == reads and reads


def test_an_approved_version_that_drifts_is_told_and_cannot_be_approved_again(folder: Path, org: Org) -> None:
    version = version_of(f"file://{folder}")
    work(version)
    approved(version)
    change_byte(folder)
    work(version)
    work(version)
    told = Notification.objects.filter(kind="catalog.drift")
    assert {row.person.username for row in told} == {"pat", "ravi", "yasmine"} and len(told) == 3
    assert "model.safetensors" in told[0].text and told[0].url == f"/catalog/{version.asset.slug}/"
    move(Version.objects.filter(pk=version.pk), VersionState.APPROVED, VersionState.BLOCKED)
    move(Version.objects.filter(pk=version.pk), VersionState.BLOCKED, VersionState.IN_REVIEW)
    version.refresh_from_db()
    with pytest.raises(Conflict, match=r"Pin: 1 file changed \(model\.safetensors\)"):
        services.approve(lead(), version)


def test_a_draft_that_drifts_is_nobodys_alarm(folder: Path, org: Org) -> None:
    version = version_of(f"file://{folder}")
    work(version)
    change_byte(folder)
    assert work(version).state == PinState.DRIFTED
    assert not Notification.objects.filter(kind="catalog.drift").exists()


# --- The schedule -----------------------------------------------------------------------------------------------------


def due(version: Version) -> bool:
    return Job.objects.filter(version=version, kind="pin", due_at__isnull=False).exists()


def test_what_people_rely_on_is_verified_every_day(folder: Path) -> None:
    version, draft = version_of(f"file://{folder}"), version_of(f"file://{folder}")
    for one in (version, draft):
        work(one)
    approved(version)
    Job.objects.all().update(due_at=None)
    assert verification.want_due() == 0  # a moment ago
    for one in (version, draft):
        rewind(one, 25)
    assert (verification.want_due(), due(version), due(draft)) == (1, True, False)
    assert verification.want_due() == 0  # it waits already


def test_what_drifted_is_looked_at_again_and_not_all_the_time(folder: Path) -> None:
    version = version_of(f"file://{folder}")
    work(version)
    approved(version)
    change_byte(folder)
    work(version)
    rewind(version)
    Job.objects.update_or_create(version=version, kind="pin", defaults={"finished_at": timezone.now(), "due_at": None})
    assert verification.want_due() == 0
    rewind(version)
    assert (verification.want_due(), due(version)) == (1, True)
