"""Whatever a cluster answers: nothing raises, and what is said fits the row."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endpoints.clusters.explaining import Explanation, Seen, Stage, explain, explain_error, steps
from tests.endpoints.explaining_examples import EXAMPLES
from tests.endpoints.explaining_kit import NOW, RECORDED

pytestmark = pytest.mark.slow

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["True", "False", "Ready", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-20"]),
    st.text(min_size=300, max_size=600),
)  # fmt: skip
KEYS = st.text(max_size=8)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
FIELDS = (
    "deployment", "replica_sets", "pods", "events", "quota", "inference_service", "llm_inference_service", "hpa",
    "namespace", "logs",
)  # fmt: skip
WHOLE = [one.seen for one in EXAMPLES if one.seen is not None]
ANSWERS = [one.error for one in EXAMPLES if one.error is not None]
RECORDINGS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.json"))]


def judge(found: Explanation | None) -> None:
    if found is None:
        return
    assert 0 < len(found.sentence) <= 500
    assert len(found.next) <= 500
    assert len(found.tried) <= 500
    found.sentence.encode("utf-8")
    assert found.sentence.isprintable()


def placeholders(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in placeholders(one, (*path, key)))]


def broken(value: Any, path: tuple[Any, ...], put: Any) -> Any:
    """Return a copy of a JSON value with `put` at `path`."""
    if not path:
        return put
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = broken(value[path[0]], path[1:], put)
    return copy


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """Return a JSON value with one to three of its parts replaced by something else."""
    for _ in range(draw(st.integers(1, 3))):
        whole = broken(whole, draw(st.sampled_from(placeholders(whole))), draw(JSON))
    return whole


@st.composite
def sights(draw: st.DrawFn) -> Seen:
    seen = draw(st.sampled_from(WHOLE))
    whole: Any = {name: getattr(seen, name) for name in FIELDS}
    values: Any = draw(damaged(whole))
    if not isinstance(values, dict):
        return Seen(pods=values)
    fields: dict[str, Any] = {name: values.get(name) for name in FIELDS}
    return Seen(**fields)


SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(sights())
def test_no_damaged_object_raises(seen: Seen) -> None:
    judge(explain(seen, NOW))
    assert all(isinstance(one, Stage) for one in steps(seen))


@settings(SETTINGS, max_examples=200)
@given(st.sampled_from(FIELDS), st.sampled_from(RECORDINGS) | JSON, st.booleans())
def test_no_object_in_a_wrong_place_raises(place: str, thing: Any, listed: bool) -> None:
    field: dict[str, Any] = {place: [thing] if listed else thing}
    seen = Seen(**field)
    judge(explain(seen, NOW))
    steps(seen)


@SETTINGS
@given(st.data(), st.sampled_from(ANSWERS), st.integers(-5, 700), JSON)
def test_no_odd_answer_raises(data: st.DataObject, error: tuple[int, Any, Any], status: int, after: Any) -> None:
    judge(explain_error(status, data.draw(damaged(error[1])), after))
    judge(explain_error(error[0], data.draw(damaged(error[1])), after))


@pytest.mark.parametrize("whole", RECORDINGS, ids=[path.stem for path in sorted(RECORDED.glob("*.json"))])
def test_an_answer_cut_short_is_explained_as_text(whole: Any) -> None:
    """A connection that breaks leaves half an object, which the client hands over as the text that it is."""
    words = json.dumps(whole)
    for length in range(0, len(words), max(1, len(words) // 12)):
        for status in (0, 403, 404, 409, 422, 500):
            judge(explain_error(status, words[:length]))


def test_a_message_that_never_ends_is_cut() -> None:
    """And read in no time: no pattern of the explainer grows with the square of what it reads."""
    flood = "pods is forbidden: exceeded quota: gpu, requested: " + "a=1," * 200_000
    judge(explain_error(403, {"kind": "Status", "message": flood}))
    nodes = "0/9 nodes are available: " + "1 node(s) had untolerated taint {" * 100_000
    pod = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": nodes}]}}
    judge(explain(Seen(pods=[pod]), NOW))
    assert len(placeholders({"a": [1, {"b": 2}]})) == 5
