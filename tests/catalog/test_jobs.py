"""The queue of checks: wanted, claimed, run once, tried again, and ended with a verdict whatever happens."""

import datetime as dt
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from audit.models import Row
from catalog import collecting, evidence, jobs, pinning, standing, tasks
from catalog.evidence.finding import Finding
from catalog.models import Evidence, Job, Pin, PinState, Verdict, Version, VersionState
from catalog.sources.tree import SourceError, SourceRefused
from portal.errors import Forbidden, Invalid
from portal.launcher import stack
from tests.catalog.content_kit import COMMAND, write_model
from tests.conftest import Org
from tests.factories import CARD, FACTS, NEEDS, lead, make_asset, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.SOURCE_DIRS = {"models": tmp_path}
    settings.EVIDENCE_ALONE = False
    return write_model(tmp_path / "tiny")


def draft_of(folder: Path, **fields: Any) -> Version:
    """A draft whose content lies in `folder`, with its jobs wanted."""
    runtime = {"engine": "vllm", "command": COMMAND}
    version = Version.objects.create(
        asset=make_asset(description=CARD), version="1.0", source=f"file://{folder}", licence="Apache-2.0",
        **({"runtime": runtime, "needs": NEEDS, "facts": FACTS} | fields),
    )  # fmt: skip
    with transaction.atomic():
        collecting.begin(lead(), version)
    return version


def due(version: Version) -> set[str]:
    return set(version.jobs.filter(due_at__isnull=False).values_list("kind", flat=True))


def found(version: Version) -> dict[str, Evidence]:
    return {item.kind: item for item in Version.objects.get(pk=version.pk).latest_evidence()}


def claimed(worker: str) -> Job:
    """The job that `worker` gets."""
    job = jobs.claim(worker)
    assert job is not None
    return job


class Stub:
    """A check that does what a test wants; it stands in the registry like any other."""

    KIND, TITLE, CONTENT, DAYS, WORKER = "stub", "Stub", False, None, True

    def __init__(self, act: Any) -> None:
        self.act, self.calls = act, 0

    def applies(self, version: Version) -> bool:
        return True

    def check(self, case: Any) -> Finding:
        self.calls += 1
        return self.act(case) or Finding("stub", Verdict.PASS, "Fine.", "stub 1", {})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(act: Any = lambda case: None) -> Stub:
        made = Stub(act)
        monkeypatch.setattr(evidence, "DRIVERS", {**evidence.DRIVERS, "stub": made})
        return made

    return install


# --- Wanting ----------------------------------------------------------------------------------------------------------


def test_a_new_version_is_pinned_first_and_then_every_check_is_made(folder: Path) -> None:
    version = draft_of(folder)
    assert due(version) == {"pin"}, "the others read what is pinned"
    states = {line.kind: line.state for line in collecting.progress(version)}
    assert states["pin"] == "waiting" and states["files"] == "held"
    assert jobs.run_due("one") >= 3
    version = Version.objects.get(pk=version.pk)
    assert due(version) == set() and Pin.objects.get(version=version).state == PinState.RESOLVED
    assert {line.state for line in collecting.progress(version)} == {"done"}
    assert found(version)["pin"].verdict == Verdict.PASS and found(version)["files"].verdict == Verdict.PASS
    assert found(version)["files"].content == Pin.objects.get().digest
    assert not [line for line in standing.judged(version) if line.standing in {"missing", "stale"}]


def test_want_names_what_fits_and_makes_the_instant_ones_at_once(org: Org, folder: Path) -> None:
    version = draft_of(folder)
    jobs.run_due("one")
    by = org.principal(org.pat)
    with pytest.raises(Invalid) as caught:
        collecting.want(by, version, ["moon"])
    assert list(caught.value.fields) == ["kinds"] and "files" in caught.value.sentence
    Version.objects.filter(pk=version.pk).update(licence="CC-BY-NC-4.0")
    version.refresh_from_db()
    assert collecting.want(by, version, ["licence"]) == [] and found(version)["licence"].verdict == Verdict.FAIL
    assert [job.kind for job in collecting.want(by, version, ["files"])] == ["files"]
    assert due(version) == {"files"}
    assert Row.objects.filter(action="catalog.want_evidence", object_id=str(version.pk)).count() == 2


@pytest.mark.parametrize(("person", "allowed"), [("pat", True), ("yasmine", True), ("aud", False), ("dana", True)])
def test_stewards_and_the_proposer_of_a_draft_may_want(org: Org, folder: Path, person: str, allowed: bool) -> None:
    version = draft_of(folder, proposed_by=org.dana)
    by = org.principal(getattr(org, person))
    if not allowed:
        with pytest.raises(Forbidden):
            collecting.want(by, version)
        return
    collecting.want(by, version)
    Version.objects.filter(pk=version.pk).update(approved_at=timezone.now())
    version.refresh_from_db()
    if person == "dana":
        with pytest.raises(Forbidden):  # from then on it is everybody's
            collecting.want(by, version)


# --- Claims -----------------------------------------------------------------------------------------------------------


def test_two_workers_never_hold_the_same_job(folder: Path) -> None:
    draft_of(folder)
    assert jobs.claim("one") is not None and jobs.claim("two") is None


def test_where_one_worker_does_everything_only_one_reads_content(folder: Path, settings: Any) -> None:
    draft_of(folder)
    draft_of(folder)
    settings.EVIDENCE_ALONE = True
    assert jobs.claim("one") is not None and jobs.claim("two") is None
    settings.EVIDENCE_ALONE = False
    assert jobs.claim("two") is not None


def test_a_lapsed_claim_is_taken_over_and_the_first_one_writes_nothing(stub: Any, folder: Path) -> None:
    check = stub()
    version = make_version(VersionState.DRAFT)
    collecting.want(lead(), version, ["stub"])
    slow = claimed("slow")
    Job.objects.filter(pk=slow.pk).update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    assert jobs.run_due("next") == 1
    check.act = lambda case: Finding("stub", Verdict.FAIL, "Too late.", "stub 1", {})
    jobs.run(slow, "slow")
    assert [item.summary for item in version.evidence.filter(kind="stub")] == ["Fine."]


def test_what_is_wanted_while_it_runs_is_run_again(stub: Any) -> None:
    version = make_version(VersionState.DRAFT)

    def again(case: Any) -> None:
        if check.calls == 1:
            collecting.schedule(version, ["stub"])

    check: Stub = stub(again)
    collecting.want(lead(), version, ["stub"])
    assert jobs.run_due("one") == 2 and check.calls == 2 and due(version) == set()


def test_what_was_read_before_the_pin_changed_does_not_count(stub: Any, folder: Path) -> None:
    version = draft_of(folder)
    jobs.run_due("one")
    Evidence.objects.filter(version=version, kind="files").delete()
    collecting.want(lead(), version, ["files"])
    job = claimed("one")
    other = Finding("files", Verdict.PASS, "About other content.", "t", {})
    jobs._finish(job, "one", (evidence.DRIVERS["files"], other), read="sha256:other")
    assert "files" not in found(version) and due(version) == {"files"}


# --- Endings ----------------------------------------------------------------------------------------------------------


def run_late(version: Version) -> int:
    """Run what waits for its next attempt."""
    Job.objects.filter(version=version, due_at__isnull=False).update(due_at=timezone.now())
    return jobs.run_due("later")


def test_a_source_that_does_not_answer_is_tried_again_and_then_fails_with_the_reason(stub: Any) -> None:
    def away(case: Any) -> None:
        raise SourceError("The hub did not answer in 30 s.")

    check = stub(away)
    version = make_version(VersionState.DRAFT)
    collecting.want(lead(), version, ["stub"])
    jobs.run_due("one")
    job = version.jobs.get(kind="stub")
    assert (
        version.jobs.filter(kind="stub", due_at__gt=timezone.now()).exists()
        and job.problem == "The hub did not answer in 30 s."
        and job.attempts == 1
    )
    assert next(line for line in collecting.progress(version) if line.kind == "stub").state == "waiting"
    while due(version):
        run_late(version)
    assert check.calls == jobs.MOST_ATTEMPTS
    assert found(version)["stub"].verdict == Verdict.FAIL
    assert found(version)["stub"].summary == "It could not be checked: The hub did not answer in 30 s."
    assert any("could not be checked" in text for text in standing.problems(Version.objects.get(pk=version.pk)))
    collecting.want(lead(), version, ["stub"])
    check.act = lambda case: None
    jobs.run_due("one")
    assert found(version)["stub"].verdict == Verdict.PASS, "the re-run button helps"


@pytest.mark.parametrize("error", [SourceRefused("It holds a link."), ValueError("x"), RecursionError(), MemoryError()])
def test_a_check_that_breaks_off_is_a_finding_and_the_worker_goes_on(stub: Any, error: Exception) -> None:
    def broken(case: Any) -> None:
        raise error

    stub(broken)
    versions = [make_version(VersionState.DRAFT) for _ in range(2)]
    for version in versions:
        collecting.want(lead(), version, ["stub"])
    assert jobs.run_due("one") == 2
    for version in versions:
        assert found(version)["stub"].verdict == Verdict.FAIL
        assert "could not be checked" in found(version)["stub"].summary and due(version) == set()


def test_a_check_that_ends_its_worker_each_time_is_given_up(stub: Any) -> None:
    check = stub()
    version = make_version(VersionState.DRAFT)
    collecting.want(lead(), version, ["stub"])
    for number in range(jobs.MOST_ATTEMPTS):  # claimed, and then the process is gone
        assert jobs.claim(f"dies-{number}") is not None
        Job.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    jobs.run_due("last")
    assert check.calls == 0 and found(version)["stub"].verdict == Verdict.FAIL
    assert "ended its worker" in found(version)["stub"].summary


def test_a_pin_that_goes_on_after_each_interruption_is_not_given_up(folder: Path) -> None:
    version = draft_of(folder)
    for number in range(jobs.MOST_ATTEMPTS + 3):
        assert jobs.claim(f"restarted-{number}") is not None
        Job.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    jobs.run_due("last")
    assert found(version)["pin"].verdict == Verdict.PASS


def test_a_source_that_is_not_there_ends_in_a_verdict(folder: Path) -> None:
    version = draft_of(folder / "nowhere")
    jobs.run_due("one")
    assert Pin.objects.get(version=version).state == PinState.FAILED
    assert found(version)["pin"].verdict == Verdict.FAIL and due(version) == set()
    assert next(line for line in collecting.progress(version) if line.kind == "pin").state == "failed"


def test_a_pin_that_never_answers_fails_after_its_attempts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def away(*_: Any) -> None:
        raise SourceError("The hub did not answer.")

    version = draft_of(folder)
    monkeypatch.setattr(pinning, "work", away)
    jobs.run_due("one")
    while due(version):
        run_late(version)
    assert Pin.objects.get(version=version).state == PinState.FAILED
    assert "The hub did not answer" in found(version)["pin"].summary


# --- Ageing -----------------------------------------------------------------------------------------------------------


def test_evidence_is_collected_again_before_it_expires(stub: Any) -> None:
    version, draft = make_version(VersionState.APPROVED), make_version(VersionState.DRAFT)
    check = stub()
    check.DAYS = 7
    for one in (version, draft):
        collecting.want(lead(), one, ["stub"])
    jobs.run_due("one")
    assert collecting.renew() == 0
    Evidence.objects.filter(kind="stub").update(expires_at=timezone.now() + dt.timedelta(hours=2))
    assert collecting.renew() == 1 and due(version) == {"stub"} and due(draft) == set(), "nobody relies on a draft"
    assert collecting.renew() == 0, "it waits already"
    jobs.run_due("one")
    assert version.evidence.filter(kind="stub", expires_at__gt=timezone.now() + dt.timedelta(days=6)).count() == 1


def test_what_no_check_looks_after_any_more_is_not_asked_for_each_hour(folder: Path) -> None:
    version = make_version()
    old = {"summary": "x", "tool": "x", "collected_at": timezone.now(), "expires_at": timezone.now()}
    Evidence.objects.create(version=version, kind="gone", verdict=Verdict.PASS, **old)
    assert collecting.renew() == 0
    assert not Row.objects.filter(action="catalog.want_evidence", object_id=str(version.pk)).exists()


def test_a_finding_is_kept_whatever_hostile_content_put_into_it(stub: Any) -> None:
    version = make_version()
    deep: Any = "end"
    for _ in range(300):
        deep = [deep]
    report = {"nul\0": "a\0b", "half": ["\ud800"], "number": float("inf"), "deep": deep, "tuple": ("x",)}
    stub(lambda case: Finding("stub", Verdict.WARN, "It says \ud800\0.", "stub 1", report))
    collecting.want(lead(), version, ["stub"])
    jobs.run_due("one")
    kept = found(version)["stub"]
    assert kept.summary == "It says ?\N{REPLACEMENT CHARACTER}." and kept.digest
    assert (kept.report["half"], kept.report["number"], kept.report["tuple"]) == (["?"], "inf", ["x"])


# --- A worker that is killed ------------------------------------------------------------------------------------------


KILLED = """
import os, signal, django
django.setup()
from django.conf import settings
settings.SOURCE_DIRS = {{"models": __import__("pathlib").Path({root!r})}}
settings.EVIDENCE_ALONE = False
from catalog import jobs, pinning
from {module} import {name} as original
import {module} as module
def killed(*args, **kwargs):
    {before}
    os.kill(os.getpid(), signal.SIGKILL)
module.{name} = killed
jobs.run_due("killed")
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("module", "name", "before"),
    [
        ("catalog.pinning", "work", "pass"),
        ("catalog.pinning", "work", "original(*args)"),
        ("catalog.jobs", "keep", "pass"),
        ("catalog.jobs", "refresh", "pass"),
    ],
)
def test_a_worker_killed_between_two_steps_loses_nothing(
    folder: Path, tmp_path: Path, module: str, name: str, before: str
) -> None:
    """kill -9 before the work, after it, in the transaction that keeps a finding: the next worker goes on."""
    version = draft_of(folder)
    code = textwrap.dedent(KILLED).format(root=str(tmp_path), module=module, name=name, before=before)
    database = connection.settings_dict
    url = (
        f"sqlite:///{database['NAME']}"
        if connection.vendor == "sqlite"
        else f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    )
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    assert Job.objects.filter(claimed_by="killed").exists(), "it died with its claim"
    assert jobs.claim("early") is None or Job.objects.filter(claimed_by="killed").exists()
    Job.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    while jobs.run_due("next"):
        pass
    assert due(version) == set()
    kinds = list(version.evidence.exclude(kind="pin").values_list("kind", flat=True))  # its pin was not read, then was
    assert len(kinds) == len(set(kinds)), "every finding once"
    assert not [line for line in standing.judged(Version.objects.get(pk=version.pk)) if line.standing == "missing"]


def test_every_queue_that_tasks_go_to_has_a_worker_in_the_embedded_stack(settings: Any) -> None:
    """A queue that nobody listens to loses everything without a word."""
    source = Path(stack.__file__).read_text(encoding="utf-8")
    listened = set(source.split('"-Q", "')[1].split('"')[0].split(","))
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    assert routed <= listened and settings.CELERY_TASK_ROUTES["catalog.tasks.collect"] == {"queue": "evidence"}
    assert tasks.collect.time_limit == jobs.LONGEST_SECONDS > settings.CELERY_TASK_TIME_LIMIT
