"""Fit: what the memory plan counts with against what the files say; and the card's evaluations."""

import json

import pytest

from catalog.evidence import card, fit
from catalog.evidence.case import Case
from tests.catalog.content_kit import LLAMA, case_of, write_gguf, write_model, write_safetensors, write_weights

pytestmark = pytest.mark.slow

NEEDS = {"parameters": 41_088, "layers": 2, "kv_heads": 2, "head_dim": 16, "max_context_tokens": 512}


@pytest.fixture(autouse=True)
def _state(tmp_path, settings):
    settings.STATE_DIR = tmp_path / "state"


@pytest.fixture
def model(tmp_path):
    return write_weights(tmp_path / "model")


def judged(folder, **changes):
    return fit.check(case_of(folder, needs=NEEDS | changes))


def test_what_is_declared_truly_passes(model):
    found = judged(model)
    assert (found.verdict, found.summary) == (
        "pass", "As declared: parameters, layers, kv_heads, head_dim, max_context_tokens.",
    )  # fmt: skip
    assert found.report["from"] == "config.json" and all(row["fits"] for row in found.report["compared"])


@pytest.mark.parametrize(
    ("field", "declared", "words"),
    [
        ("parameters", 42_500, "parameters is declared as 42,500, found 41,088"),
        ("parameters", 40_000, "found 41,088"),
        ("layers", 3, "layers is declared as 3, found 2"),
        ("kv_heads", 4, "kv_heads is declared as 4, found 2"),
        ("head_dim", 8, "head_dim is declared as 8, found 16"),
        ("max_context_tokens", 513, "max_context_tokens is declared as 513, found 512"),
    ],
)
def test_a_difference_fails_with_both_numbers(model, field, declared, words):
    found = judged(model, **{field: declared})
    assert found.verdict == "fail" and words in found.summary


def test_what_is_near_enough_passes(model):
    assert judged(model, parameters=41_500, max_context_tokens=100).verdict == "pass"


def test_a_gguf_is_read_where_there_are_no_safetensors(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    write_gguf(folder / "tiny.gguf")
    found = judged(folder)
    assert found.verdict == "pass" and found.report["from"] == "tiny.gguf" and len(found.report["compared"]) == 5
    assert judged(folder, kv_heads=4).verdict == "fail"
    write_gguf(folder / "mmproj-tiny.gguf")
    assert judged(folder).report["from"] == "tiny.gguf"
    (folder / "tiny.gguf").rename(folder / "tiny-00001-of-00002.gguf")
    write_gguf(folder / "tiny-00002-of-00002.gguf")
    assert judged(folder, parameters=2 * 41_088).verdict == "pass"


def test_only_the_shards_that_the_index_names_are_counted(model):
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    write_safetensors(model / "consolidated.safetensors")
    assert judged(model).verdict == "fail", "without an index both count"
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert judged(model).verdict == "pass"


def test_what_cannot_be_told_warns(model, tmp_path):
    (model / "config.json").unlink()
    found = judged(model)
    assert found.verdict == "warn" and [row["field"] for row in found.report["compared"]] == ["parameters"]
    (model / "config.json").write_text(json.dumps({**LLAMA, "kv_lora_rank": 512}))
    assert "not counted by heads" in judged(model, kv_heads=1).summary
    (model / "model.safetensors").unlink()
    assert "Parameters were not counted" in judged(model, parameters=7, kv_heads=9).report["notes"][1]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_files_fail(model, name):
    (model / name).write_bytes(b"\xff" * 100)
    assert judged(model).verdict in {"fail", "warn"}
    if name == "model.safetensors":
        found = judged(model)
        assert found.verdict == "fail" and "cannot be read" in found.summary


def test_without_a_pin_or_with_other_files_it_fails(model):
    case = case_of(model, needs=NEEDS)
    assert fit.check(Case(case.version, None, case.open_tree)).verdict == "fail"
    (model / "extra.txt").write_text("x")
    assert fit.check(case).verdict == "fail"


def test_a_model_with_weights_is_asked_for_its_evaluations(tmp_path):
    case = case_of(write_model(tmp_path / "model"), facts={"sources": {"card": ["x"]}})
    asset = case.version.asset
    asset.publisher, asset.summary, asset.homepage = "Example", "Tiny.", "https://example.com"
    asset.tasks, asset.languages = ["chat"], ["en"]
    asset.description = "## Intended use\nTests.\n\n## Limitations\nMany.\n"
    found = card.check(case)
    assert found.verdict == "warn" and "Evaluation" in found.summary
    for heading in ("Evaluation", "Evaluations", "Benchmarks"):
        asset.description = f"## Intended use\nTests.\n\n## Limitations\nMany.\n\n## {heading}\n\n"
        asset.description += "| benchmark | score |\n| --- | --- |\n| MMLU | 41.2 |\n"
        found = card.check(case)
        assert found.verdict == "pass" and found.report["evaluations"] == [{"type": "MMLU", "value": "41.2"}]
    asset.description = asset.description.replace("Many.", "")
    assert card.check(case).verdict == "fail", "a section without text is missing"
