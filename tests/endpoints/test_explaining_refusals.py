"""What drivers say by themselves: every code that any of them raises has words, says what to do, and is in the docs."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints.clusters.explaining.cases import CASES, REFUSALS
from tests.endpoints import explaining_document
from tests.endpoints.refusal_examples import WORDS, example

pytestmark = pytest.mark.slow
ENDPOINTS = Path(__file__).resolve().parents[2] / "endpoints"
MODULES = sorted(
    [*(ENDPOINTS / "clusters").rglob("*.py"), *(ENDPOINTS / "fleet").rglob("*.py"), ENDPOINTS / "drivers.py"]
)
# Of a code that a cluster's answer, an earlier error or the table of Git gave them.
BUILDERS = {"cases.py", "errors.py", "client.py", "words.py"}


def calls(name: str) -> Iterator[tuple[Path, ast.Call]]:
    """Yield each call of a function with where it stands."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield path, node


def holes(code: str) -> set[str]:
    """The words that the sentence of a case wants."""
    case = CASES.get(code) or REFUSALS[code]
    return {name for text in (case.what, case.fix) for _, name, _, _ in string.Formatter().parse(text) if name}


def test_no_driver_raises_an_error_without_words() -> None:
    for path, call in calls("ClusterError"):
        plain = [one.value for one in call.args[:1] if isinstance(one, ast.Constant)]
        assert not plain and path.name in BUILDERS, f"{path.name}:{call.lineno} has to say refused(code, …)"


def test_every_code_that_is_raised_has_its_words_and_the_other_way_round() -> None:
    raised = set()
    for path, call in calls("refused"):
        if not (call.args and isinstance(call.args[0], ast.Constant)):
            raise AssertionError(f"{path.name}:{call.lineno} names no code")
        code = str(call.args[0].value)
        assert code in CASES or code in REFUSALS, f"{path.name}:{call.lineno}: {code} has no row in words_driver.py"
        assert {word.arg for word in call.keywords} == holes(code), f"{path.name}:{call.lineno}: {code}"
        raised.add(code)
    assert set(REFUSALS) == set(WORDS) == raised - set(CASES)
    assert not set(REFUSALS) & set(CASES)


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_what_to_do(code: str) -> None:
    said, case = example(code), REFUSALS[code]
    assert (said.code, said.turn, said.retry) == (code, case.turn, not case.failed)
    assert said.next and said.sentence.endswith(said.next) and "unknown" not in said.sentence
    assert 40 < len(said.sentence) <= 480 and len(f"rollout_{code}") <= 40
    assert said.turn != "nobody" or "again by itself" in said.next or "it is tried again" in said.next


def test_the_docs_list_every_code() -> None:
    for page in (explaining_document.DOCUMENT, explaining_document.ALBUM):
        text = page.read_text(encoding="utf-8")
        assert [code for code in REFUSALS if f"`{code}`" not in text] == []
