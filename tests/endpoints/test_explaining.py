"""Every case of the explainer: the right code, the names and numbers, whose turn, and what to do."""

import pytest

from endpoints.clusters.explaining import Seen, explain
from endpoints.clusters.explaining.cases import CASES
from tests.endpoints import explaining_document
from tests.endpoints.explaining_examples import EXAMPLES, QUIET
from tests.endpoints.explaining_kit import NOW, RECORDED, Example, deployment, pod, recorded


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{number}-{one.code}" for number, one in enumerate(EXAMPLES)])
def test_a_case_is_explained(example: Example) -> None:
    found = example.explained()
    assert found is not None
    assert found.code == example.code
    assert [word for word in example.words if word not in found.sentence] == []
    assert "unknown" not in found.sentence.replace("unknown format", ""), "a hole was not filled"
    case = CASES[example.code]
    assert (found.turn, found.next) == (case.turn, found.next)
    assert found.next
    assert found.next in found.sentence
    assert 40 < len(found.sentence) <= 480
    assert found.sentence[0].isupper()
    assert found.sentence.endswith((".", "…"))


def test_every_case_has_an_example_and_fits_its_column() -> None:
    assert {one.code for one in EXAMPLES} == set(CASES)
    assert [code for code in CASES if len(f"rollout_{code}") > 40] == []


def test_every_recorded_object_is_used() -> None:
    """A recording that nobody explains would be a failure that nobody thought of."""
    named = (RECORDED.parents[1] / "endpoints" / "explaining_examples.py").read_text(encoding="utf-8")
    files = {path.stem for path in RECORDED.glob("*.json")}
    assert {name for name in files if f'"{name}"' not in named} == set()
    assert files >= QUIET


def test_what_is_healthy_needs_no_explanation() -> None:
    assert explain(Seen(), NOW) is None
    assert explain(Seen(deployment=deployment(recorded("deployment-available-status"))), NOW) is None
    for name in ("kserve-isvc-created", "kserve-real-isvc-ready"):
        assert explain(Seen(inference_service=recorded(name)), NOW) is None
    assert explain(Seen(llm_inference_service=recorded("kserve-real-llmisvc-ready")), NOW) is None
    ready = pod({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    assert explain(Seen(pods=[ready]), NOW) is None


def test_the_document_says_what_the_portal_says() -> None:
    path = explaining_document.DOCUMENT
    assert path.read_text(encoding="utf-8") == explaining_document.document(), "write it anew, as its head says"


def test_every_case_has_its_picture() -> None:
    assert explaining_document.ALBUM.read_text(encoding="utf-8") == explaining_document.album(), "write it anew"
    wanted = {f"{name}.png" for name, _, _ in explaining_document.sheets()}
    made = {path.name for path in explaining_document.PICTURES.glob("*.png")}
    assert made == wanted, "make them with `python -m tools.failure_screens`"
    assert sum(path.stat().st_size for path in explaining_document.PICTURES.glob("*.png")) < 3_000_000
