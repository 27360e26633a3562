"""What a request may say: nothing but Invalid comes out of `parse`, and each sentence names field, limit and fix."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.bodies import EndpointBody, complete, parse
from portal.errors import Invalid
from tests.factories import request_body

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(
    st.sampled_from(list(EndpointBody.model_fields)) | st.text(max_size=20), json_values, max_size=8
)


def parsed(data: dict[str, Any]) -> tuple[EndpointBody | None, Invalid | None]:
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
    assert parse(request_body(ends_on=(today + dt.timedelta(days=1)).isoformat())).ends_on


def test_other_kinds_say_that_they_are_not_in_this_release() -> None:
    """A stable code for pipelines that are ahead of the portal."""
    for kind in ("access", "mcp-access", "renewal", "quota", 7, None, ["endpoint"]):
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
