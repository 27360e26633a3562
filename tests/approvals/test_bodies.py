"""What a request may say: nothing but Invalid comes out of `parse`, and each sentence names field, limit and fix."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.bodies import BODIES, EndpointBody, RequestBody, complete, parse
from portal.errors import Invalid
from tests.factories import request_body

pytestmark = pytest.mark.slow

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({name for model in BODIES.values() for name in model.model_fields} - {"kind"})
bodies = st.builds(
    lambda kind, fields: {"kind": kind, **fields},
    st.sampled_from(list(BODIES)),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=20), json_values, max_size=8),
)


def parsed(data: dict[str, Any]) -> tuple[RequestBody | None, Invalid | None]:
    """The body or the refusal; any other exception is a bug."""
    try:
        return parse(data), None
    except Invalid as error:
        return None, error


@settings(max_examples=400, deadline=None)
@given(data=bodies)
def test_parse_raises_nothing_but_invalid(data: dict[str, Any]) -> None:
    """Whatever JSON arrives: a body, or Invalid with at least one field and a sentence."""
    body, error = parsed(data)
    if body is None:
        assert error is not None and error.fields and error.sentence
    else:
        assert parse(body.stored()) == body


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(list(EndpointBody.model_fields)), value=json_values)
def test_one_strange_value_in_a_good_body(name: str, value: Any) -> None:
    """A good body with one strange value is refused for that field, or taken."""
    _, error = parsed(request_body(**{name: value}))
    assert {field.split(".")[0] for field in (error.fields if error else {})} <= {name, "kind"}


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"replicas": 0}, "replicas", "least is 1"),
        ({"replicas": 10_000}, "replicas", "limit is 64"),
        ({"replicas": -1}, "replicas", "least is 1"),
        ({"replicas": 10**40}, "replicas", "64"),
        ({"replicas": float("nan")}, "replicas", "replicas"),
        ({"replicas": 1.5}, "replicas", "whole number"),
        ({"replicas": True}, "replicas", "true or false"),
        ({"replicas": "many"}, "replicas", "whole number"),
        ({"replicas": [1]}, "replicas", "whole number"),
        ({"concurrency": 10_000}, "concurrency", "1024"),
        ({"context_tokens": 0}, "context_tokens", "least is 1"),
        ({"environment": "moon"}, "environment", "choose one of"),
        ({"data_classification": "secret"}, "data_classification", "choose one of"),
        ({"purpose": "x" * 1_000_000}, "purpose", "limit is 2,000"),
        ({"purpose": "bell \x07"}, "purpose", "control character"),
        ({"purpose": "nul \x00"}, "purpose", "control character"),
        ({"purpose": 5}, "purpose", "must be text"),
        ({"name": "Größe"}, "name", "lower-case"),
        ({"name": "スコア"}, "name", "lower-case"),
        ({"name": "-dash"}, "name", "lower-case"),
        ({"name": "x" * 41}, "name", "40"),
        ({"ends_on": "tomorrow"}, "ends_on", "YYYY-MM-DD"),
        ({"ends_on": "2020-01-01"}, "ends_on", "after today"),
        ({"ends_on": "2999-01-01"}, "ends_on", "730 days"),
        ({"extra": 1}, "extra", "not a field"),
        ({"asset": {"a": 1}}, "asset", "must be text"),
    ],
)
def test_bad_values_name_field_limit_and_fix(fields: dict[str, Any], name: str, words: str) -> None:
    """One clear sentence for each."""
    with pytest.raises(Invalid) as caught:
        parse(request_body(**fields))
    assert list(caught.value.fields) == [name]
    assert words in caught.value.fields[name]
    assert len(caught.value.fields[name]) < 400


def test_today_is_too_early_and_tomorrow_is_not() -> None:
    """An endpoint runs at least until tomorrow."""
    today = timezone.now().date()
    with pytest.raises(Invalid):
        parse(request_body(ends_on=today.isoformat()))
    tomorrow = (today + dt.timedelta(days=1)).isoformat()
    assert parse(request_body(ends_on=tomorrow)).stored()["ends_on"] == tomorrow


TODAY = timezone.now().date()
SOON = (TODAY + dt.timedelta(days=30)).isoformat()
WHOLE: dict[str, dict[str, Any]] = {
    "revision": {"endpoint": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "version": "2.0", "hardware_profile": "cpu-demo",
                 "replicas": 1, "concurrency": 8, "context_tokens": 4096, "purpose": "Faster."},
    "renewal": {"endpoint": "0" * 32, "ends_on": SOON, "purpose": "Goes on."},
    "access": {"project": "fraud-detection", "endpoint": "0" * 32, "ends_on": SOON, "purpose": "Ranking."},
    "quota": {"project": "fraud-detection", "quota": "tokens", "target": "project", "window": "day", "soft": 10,
              "hard": 20, "ends_on": SOON, "purpose": "Backfill."},
}  # fmt: skip
BIG = 10**30


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_bodies_of_every_kind(kind: str) -> None:
    """Stored and parsed again they are the same; each missing field is named; the id is written one way."""
    body = parse(WHOLE[kind] | {"kind": kind})
    complete(body)
    assert body.kind == kind and parse(body.stored()) == body
    for name in set(WHOLE[kind]) - {"target", "window", "soft", "hard"}:
        with pytest.raises(Invalid) as caught:
            complete(parse({**WHOLE[kind], "kind": kind, name: None}))
        assert name in caught.value.fields and "missing" in caught.value.fields[name]
    endpoint = body.stored().get("endpoint")
    assert endpoint is None or len(endpoint) == 36


@pytest.mark.parametrize(
    ("kind", "fields", "name", "words"),
    [
        ("revision", {"replicas": 0}, "replicas", "least is 1"),
        ("revision", {"replicas": 65}, "replicas", "limit is 64"),
        ("revision", {"context_tokens": BIG}, "context_tokens", "limit is 10000000"),
        ("revision", {"endpoint": "scoring"}, "endpoint", "give the id"),
        ("revision", {"name": "other"}, "name", "not a field"),
        ("revision", {"project": "fraud-detection"}, "project", "not a field"),
        ("renewal", {"ends_on": "2020-01-01"}, "ends_on", "after today"),
        ("renewal", {"ends_on": TODAY.isoformat()}, "ends_on", "after today"),
        ("renewal", {"ends_on": "2999-01-01"}, "ends_on", "limit is 730 days"),
        ("renewal", {"ends_on": "soon"}, "ends_on", "YYYY-MM-DD"),
        ("renewal", {"purpose": "x" * 2001}, "purpose", "limit is 2,000"),
        ("renewal", {"endpoint": 7}, "endpoint", "must be text"),
        ("access", {"data_classification": "secret"}, "data_classification", "choose one of"),
        ("access", {"endpoint": "../../etc"}, "endpoint", "give the id"),
        ("quota", {"hard": -1}, "hard", "least is 1"),
        ("quota", {"hard": 0}, "hard", "least is 1"),
        ("quota", {"hard": BIG}, "hard", "limit is 1000000000000000"),
        ("quota", {"hard": 1.5}, "hard", "whole number"),
        ("quota", {"hard": True}, "hard", "true or false"),
        ("quota", {"soft": "many"}, "soft", "whole number"),
        ("quota", {"quota": "disks"}, "quota", "choose one of"),
        ("quota", {"window": "year"}, "window", "choose one of"),
        ("quota", {"target_name": "bell \x07", "target": "key"}, "target_name", "control character"),
        # said when it is sent: a draft may still contradict itself
        ("quota", {"soft": 21}, "soft", "limit is hard, 20"),
        ("quota", {"target": "key"}, "target_name", "missing"),
        ("quota", {"target_name": "scoring"}, "target_name", "Leave it empty"),
        ("quota", {"window": None}, "window", "day or month"),
        ("quota", {"soft": None, "hard": None}, "hard", "missing"),
        ("quota", {"quota": "gpus", "window": "", "soft": None, "hard": None}, "hard", "How many".lower()),
        ("quota", {"quota": "gpus", "soft": None}, "window", "GPUs are held"),
        ("quota", {"quota": "gpus", "window": ""}, "soft", "only for tokens"),
        ("quota", {"quota": "gpus", "window": "", "soft": None, "target": "endpoint"}, "target", "Choose project"),
    ],
)
def test_bad_values_of_every_kind(kind: str, fields: dict[str, Any], name: str, words: str) -> None:
    """One clear sentence naming the field, the limit and the fix."""
    with pytest.raises(Invalid) as caught:
        complete(parse({**WHOLE[kind], "kind": kind, **fields}))
    assert words in caught.value.fields[name] and caught.value.fields[name].startswith(name)
    assert len(caught.value.fields[name]) < 300


def test_other_kinds_say_that_they_are_not_in_this_release() -> None:
    """A stable code for pipelines that are ahead of the portal."""
    for kind in ("agent", "", 7, None, ["endpoint"], {"a": 1}):
        with pytest.raises(Invalid) as caught:
            parse({"kind": kind})
        assert caught.value.code == "kind_not_available"


def test_not_an_object() -> None:
    """A list or text is not a body."""
    values: list[Any] = [[], "text", 5, None]
    for value in values:
        with pytest.raises(Invalid):
            parse(value)


def test_complete_names_everything_that_is_missing() -> None:
    """A draft may be empty; a submission may not."""
    body = parse({"kind": "endpoint"})
    with pytest.raises(Invalid) as caught:
        complete(body)
    assert {"project", "name", "asset", "version", "hardware_profile", "environment", "purpose", "ends_on"} <= set(
        caught.value.fields
    )
    assert "replicas" not in caught.value.fields
