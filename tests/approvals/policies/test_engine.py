"""CEL: only true is true, every error is an error, and nothing grows beyond its bounds."""

import time

import pytest

from approvals.policies import engine, placing
from approvals.policies.engine import ExpressionError

DATA = {"request": {"days": 3, "name": "a"}, "tools": [{"name": str(number)} for number in range(1000)]}


def said(text: str) -> bool:
    """What an expression says of DATA."""
    return engine.holds(engine.compile_(text), engine.activation(DATA))


def test_true_is_true_and_false_is_false() -> None:
    """With the extensions that docs/policies.md lists."""
    assert said('request.days == 3 && "A".lowerAscii() == request.name && math.greatest(1, 2) == 2')
    assert said('cel.bind(x, request.days, x * x == 9) && "a-b".split("-").size() == 2')
    assert not said("request.days > 3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("request.nope == 1", "nope"),
        ("request.days / (request.days - 3) > 0", "zero"),
        ("request.name", "STRING"),
        ("request", "MAP"),
        ("tools.all(a, tools.all(b, a.name != b.name + 'x'))", "budget"),  # a million
        ("request.name > 3", "overload"),
        ('request.name.matches("(") || false', ""),
    ],
)
def test_everything_else_is_an_error(text: str, words: str) -> None:
    """A missing field, a division by zero, a text, a loop over a million items: at once, and never true."""
    begun = time.monotonic()
    with pytest.raises(ExpressionError) as error:
        said(text)
    assert words in str(error.value) and time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("true &&\n  (1", 2, 5), ("nope == 1", 1, 1), ("size(request.name)", 1, 1), ("1 +", 1, 4), ("", 1, 1)],
)
def test_what_does_not_compile_says_where(text: str, line: int, column: int) -> None:
    """Line and column count from 1."""
    with pytest.raises(ExpressionError) as error:
        engine.compile_(text)
    assert (error.value.line, error.value.column) == (line, column) and error.value.sentence


@pytest.mark.parametrize(
    "text",
    [
        f"['aaaa']{'.map(x, x + x)' * 30}.all(x, size(x) > 0)",
        "'a'.replace('a', 'aaaaaaaa').replace('a', 'aaaaaaaa') == ''",
        "[request.name].join('aaaaaaaa') == ''",
        "'%s'.format([request.name]) == ''",
        f"1{' + 1' * 25} == 26",
        r'[r"\"].map(x, x + x).map(x, x + x).map(x, x + x) == [""]',  # a raw text does not hide what follows it
        f"true{' && true' * 1000}",
        f"{'(' * 200}true{')' * 200}",
        f"{'[' * 60}1{']' * 60} == []",
    ],
)
def test_what_could_grow_is_refused_before_it_runs(text: str) -> None:
    """Each doubles or nests: thirty doublings of four bytes are four gigabytes."""
    with pytest.raises(ExpressionError):
        engine.compile_(text)


def test_half_a_character_is_an_error() -> None:
    """YAML can write it as an escape, and the runtime takes no such text."""
    with pytest.raises(ExpressionError, match="character that is none"):
        engine.compile_("request.name == '\ud800'")
    (problem,) = placing.problems("id: a\nexpression: \"request.name == '\\ud800'\"\n")
    assert problem.line == 2 and "character that is none" in problem.sentence


def test_texts_and_comments_are_no_code() -> None:
    """A plus sign in a text counts for nothing, and places stay where they are."""
    text = """request.name == "+ .map( +" || 'it\\'s .join(' != b'.replace(' // + + +\n || true"""
    bare = engine.without_literals(text)
    assert len(bare) == len(text) and not set("+'\"") & set(bare) and "map" not in bare
    assert engine.without_literals('r"\\" + x') == "     + x"
    assert said(f'request.name != "{"+" * 100}"')
