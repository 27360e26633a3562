"""From the journals into the ledger: exactly once, whatever dies in between."""

import json
import logging

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projects import keys
from projects.models import ApiKey
from quotas import ingest as module
from quotas import rollups
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import JournalOffset, UsageDay, UsageEvent, UsageHour
from tests.conftest import Org
from tests.quotas.conftest import NOON, call, finished, started

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
SUMS = ("input_tokens", "output_tokens", "cached_tokens")


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal") as made:
        yield made


def directory(journal: Journal):
    return journal._directory


def file_of(journal: Journal):
    return directory(journal) / f"{journal.gateway}.jsonl"


def append(journal: Journal, data: bytes) -> None:
    with file_of(journal).open("ab") as file:
        file.write(data)


def agree(calls: int) -> None:
    """The ledger has `calls` rows, and both tables of sums say the same as the ledger."""
    assert UsageEvent.objects.count() == calls
    ledger = UsageEvent.objects.aggregate(**{name: Sum(name, default=0) for name in SUMS})
    ledger["errors"] = UsageEvent.objects.filter(outcome__in=["error", "interrupted"]).count()
    for model in (UsageHour, UsageDay):
        names = (*SUMS, "errors", "requests")
        sums = model.objects.aggregate(**{name: Sum(name, default=0) for name in names})
        assert sums == ledger | {"requests": calls}
        assert sum(sum(row.latency.values()) for row in model.objects.all()) == (
            UsageEvent.objects.filter(latency_ms__isnull=False).count()
        )


def test_a_call_shows_with_its_end_and_counts_once(journal):
    sequence = journal.start(**started())
    assert ingest(directory(journal)) == 0
    journal.end(sequence, **finished())
    assert [ingest(directory(journal)) for _ in range(3)] == [1, 0, 0]
    event = UsageEvent.objects.get()
    assert (event.gateway, event.sequence, event.at, event.key, event.person) == (
        journal.gateway, sequence, NOON, "gth_abcdefgh", "dana",
    )  # fmt: skip
    assert (event.input_tokens, event.output_tokens, event.ttft_ms, event.stream) == (100, 20, 180.0, True)
    agree(1)
    assert file_of(journal).exists()


def test_rows_of_an_hour_and_of_a_day_are_added_up(journal):
    late = NOON.replace(hour=23, minute=59)
    for at in (NOON, NOON.replace(minute=59), late):
        call(journal, start={"at": at})
    call(journal, start={"at": NOON, "key_id": "k2"}, outcome="error", status=502, ttft_ms=None)
    ingest(directory(journal))
    call(journal, start={"at": NOON})
    ingest(directory(journal))
    hours = UsageHour.objects.order_by("start", "key_id").values_list("start", "key_id", "requests", "errors")
    assert list(hours) == [(NOON, "k1", 3, 0), (NOON, "k2", 1, 1), (late.replace(minute=0), "k1", 1, 0)]
    days = UsageDay.objects.order_by("key_id").values_list("start", "key_id", "requests", "input_tokens")
    assert list(days) == [(NOON.replace(hour=0), "k1", 4, 400), (NOON.replace(hour=0), "k2", 1, 100)]
    agree(5)


def test_a_torn_last_line_waits_for_its_end(journal):
    call(journal)
    line = file_of(journal).read_bytes().splitlines()[-1].replace(b'"s":1', b'"s":2')
    append(journal, line[:40])
    assert ingest(directory(journal)) == 1
    append(journal, line[40:] + b"\n")
    assert ingest(directory(journal)) == 1
    agree(2)
    assert JournalOffset.objects.get().corrupt == 0


def test_the_same_record_twice_counts_once(journal):
    call(journal)
    line = file_of(journal).read_bytes().splitlines()[-1] + b"\n"
    append(journal, line)
    assert ingest(directory(journal)) == 1
    append(journal, line)
    assert ingest(directory(journal)) == 0
    agree(1)


@pytest.mark.parametrize(
    "change",
    [
        {"input_tokens": -1}, {"input_tokens": "many"}, {"output_tokens": 2**31}, {"outcome": "fine"}, {"at": "today"},
        {"at": "2026-11-20T09:00:00"}, {"latency_ms": -1}, {"latency_ms": True}, {"project_id": None}, {"s": 0.5},
        {"t": "middle"}, {"status": None}, {"person": ["dana"]}, {"ttft_ms": 1e300},
        {"revision": -1}, {"revision": "2"},
    ],
)  # fmt: skip
def test_a_corrupt_record_is_passed_over_logged_and_counted(journal, change, caplog):
    call(journal)
    good = json.loads(file_of(journal).read_bytes().splitlines()[-1])
    append(journal, json.dumps(good | {"s": 7} | change).encode() + b"\n")
    call(journal)
    with caplog.at_level(logging.ERROR):
        assert ingest(directory(journal)) == 2
    assert JournalOffset.objects.get().corrupt == 1
    assert "quotas.corrupt_record" in caplog.text
    agree(2)


@pytest.mark.parametrize(
    ("end", "stored"),
    [({"revision": 3}, 3), ({"revision": None}, None), ({}, None), ({"revision": 2, "key": "\0k"}, 2)],
)
def test_the_ledger_knows_the_revision_as_far_as_the_gateway_does(journal, end, stored):
    call(journal, start={"key": end.pop("key", "gth_one")}, **end)
    assert ingest(directory(journal)) == 1
    assert UsageEvent.objects.get().revision == stored


@pytest.mark.parametrize("line", [b"\xff\xfe", b"{", b"[]", b"", b"null", b'{"s":1e999}', b"[" * 100_000])
def test_a_line_that_is_no_record_is_passed_over(journal, line):
    call(journal)
    append(journal, line + b"\n")
    call(journal)
    assert ingest(directory(journal)) == 2
    assert JournalOffset.objects.get().corrupt == 1


def test_a_line_longer_than_a_read_is_passed_over(journal, monkeypatch):
    monkeypatch.setattr(module, "READ_BYTES", 2000)
    call(journal)
    append(journal, b"x" * 7001 + b"\n")
    call(journal)
    assert ingest(directory(journal)) == 2
    agree(2)


def test_text_too_long_or_with_nul_does_not_lose_the_call(journal):
    call(journal, start={"endpoint": "e" * 100, "request_id": "a\0b", "person": "\ud800dana"})
    assert ingest(directory(journal)) == 1
    event = UsageEvent.objects.get()
    assert (event.endpoint, event.request_id, event.person) == ("e" * 63, "ab", "?dana")


def test_many_calls_go_in_batches(journal, monkeypatch):
    monkeypatch.setattr(module, "BATCH_LINES", 7)
    for number in range(25):
        call(journal, start={"key_id": f"k{number % 3}"})
    assert ingest(directory(journal)) == 25
    agree(25)


def test_the_call_of_a_dead_gateway_is_interrupted_and_estimated(journal):
    call(journal)
    journal.start(**started(estimated_input=77, request_id="lost"))
    path = file_of(journal)
    assert ingest(directory(journal)) == 1
    journal.close()
    append(journal, b'{"s":2,"t":"en')  # it died while it wrote
    assert ingest(directory(journal)) == 1
    lost = UsageEvent.objects.get(request_id="lost")
    assert (lost.outcome, lost.input_tokens, lost.output_tokens, lost.estimated, lost.latency_ms) == (
        "interrupted", 77, 0, True, None,
    )  # fmt: skip
    agree(2)
    assert not path.exists()
    assert JournalOffset.objects.get().finished
    assert ingest(directory(journal)) == 0


def test_an_end_that_cannot_be_read_leaves_an_interrupted_call(journal):
    call(journal, input_tokens="many")
    journal.close()
    assert ingest(directory(journal)) == 1
    assert UsageEvent.objects.get().outcome == "interrupted"
    agree(1)


def test_a_journal_that_nobody_could_delete_is_not_read_again(journal):
    call(journal)
    journal.close()
    text = file_of(journal).read_bytes()
    assert ingest(directory(journal)) == 1
    file_of(journal).write_bytes(text)
    assert ingest(directory(journal)) == 0
    assert not file_of(journal).exists()
    agree(1)


def test_files_that_are_no_journals_are_left_alone(journal):
    for name in ("notes.txt", ".gw-hidden.new", f"{'x' * 41}.jsonl", "with space.jsonl"):
        (directory(journal) / name).write_text("hello")
    assert ingest(directory(journal)) == 0
    assert ingest(directory(journal) / "missing") == 0
    assert len(list(directory(journal).iterdir())) == 5


class Killed(Exception):
    """Stands for the death of the process."""


STEPS = {
    "read": (module, "_read"),
    "store": (module, "_store"),
    "write": (module, "_write"),
    "insert": (module, "_insert"),
    "add": (rollups, "add"),
    "hour": (UsageHour._default_manager, "bulk_create"),
    "day": (UsageDay._default_manager, "bulk_create"),
    "keys": (module, "_touch_keys"),
    "finish": (module, "_finish"),
    "scan": (module, "_unfinished"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_dying_anywhere_counts_once(journal, monkeypatch, step, when, nth):
    monkeypatch.setattr(module, "BATCH_LINES", 4)
    for number in range(5):
        call(journal, start={"at": NOON.replace(hour=number)})
    journal.start(**started())
    journal.close()
    owner, name = STEPS[step]
    real, calls = getattr(owner, name), []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == nth and when == "before":
            raise Killed
        result = real(*args, **kwargs)
        if len(calls) == nth and when == "after":
            raise Killed
        return result

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dying)
        try:
            ingest(directory(journal))
        except Killed:
            pass
        else:
            assert len(calls) < nth
    ingest(directory(journal))
    agree(6)
    assert UsageEvent.objects.filter(outcome="interrupted").count() == 1
    assert not file_of(journal).exists()


@pytest.mark.django_db(transaction=True)
def test_ingesters_at_once_count_once(journal, file_database, in_threads, monkeypatch):
    monkeypatch.setattr(module, "BATCH_LINES", 20)
    for number in range(120):
        call(journal, start={"key_id": f"k{number % 5}", "at": NOON.replace(hour=number % 24)})
    for _ in range(3):
        journal.start(**started())
    journal.close()
    added = in_threads(4, lambda number: ingest(directory(journal)))
    assert sum(added) + ingest(directory(journal)) == 123
    agree(123)


@pytest.mark.django_db(transaction=True)
def test_two_gateways_add_to_the_same_rows(tmp_path, file_database, in_threads):
    journals = [Journal(tmp_path / str(number)) for number in range(4)]
    for journal in journals:
        for number in range(40):
            call(journal, start={"key_id": f"k{number % 3}"})
    added = in_threads(4, lambda number: ingest(directory(journals[number])))
    for journal in journals:
        journal.close()
    assert added == [40] * 4
    agree(160)
    assert UsageHour.objects.count() == 3


def test_keys_remember_their_last_use(journal, org: Org):
    key, _ = keys.issue(org.principal(org.dana), project=org.fraud, name="ci", scopes=["inference:invoke"])
    for minute in (5, 50, 20):
        call(journal, start={"key_id": str(key.pk), "at": NOON.replace(minute=minute)})
    ingest(directory(journal))
    assert ApiKey.objects.get().last_used_at == NOON.replace(minute=50)
    call(journal, start={"key_id": str(key.pk), "at": NOON})
    ingest(directory(journal))
    assert ApiKey.objects.get().last_used_at == NOON.replace(minute=50)


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "hour": st.integers(0, 47), "key": st.sampled_from("abc"), "project": st.integers(1, 2),
            "input": st.integers(0, 10**9), "output": st.integers(0, 10**6), "ends": st.booleans(),
            "outcome": st.sampled_from(["ok", "error", "cancelled"]), "latency": st.none() | st.floats(0, 1e6),
        }
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, stops=st.sets(st.integers(0, 30)))
def test_the_sums_are_those_of_the_ledger(calls, stops, tmp_path_factory):
    for model in (UsageEvent, UsageHour, UsageDay, JournalOffset):
        model.objects.all().delete()
    with Journal(tmp_path_factory.mktemp("journal"), segment_bytes=3000) as journal:
        for number, one in enumerate(calls):
            at = NOON.replace(day=20 + one["hour"] // 24, hour=one["hour"] % 24)
            fields = started(at=at, key_id=one["key"], project_id=one["project"])
            sequence = journal.start(**fields)
            if one["ends"]:
                journal.end(
                    sequence, status=200, outcome=one["outcome"], input_tokens=one["input"],
                    output_tokens=one["output"], latency_ms=one["latency"],
                )  # fmt: skip
            if number in stops:
                ingest(directory(journal))
    ingest(directory(journal))
    agree(len(calls))
    assert list(directory(journal).iterdir()) == []
