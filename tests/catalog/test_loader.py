"""Catalog as code: the shipped examples, idempotence, and documents of people who mean harm."""

import os
from pathlib import Path

import pytest
from django.db.models import Count

from audit.models import Row
from catalog import fit, loader
from catalog.models import Asset, Evidence, HardwareProfile, Kind, Version, VersionState
from portal.errors import Forbidden, Invalid

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "catalog"
MODEL = """\
slug: tiny
kind: model
name: Tiny
publisher: Example
summary: For tests.
description: |
  # Tiny
  ## Intended use
  Tests.
  ## Limitations
  Everything else.
tasks: [chat]
languages: [en]
homepage: https://example.com/tiny
versions:
  - version: "1.0"
    source: hf://example/tiny@0123456789abcdef0123456789abcdef01234567
    licence: MIT
    runtime: {engine: demo, command: [serve, --port, "{port}"]}
    needs: {parameters: 1000, bytes_per_parameter: 2.0, layers: 1, kv_heads: 1, head_dim: 8, max_context_tokens: 512}
    facts: {sources: {card: [an example]}}
"""


@pytest.fixture
def pat(org):
    return org.principal(org.pat)


def write(folder: Path, text: str, name: str = "tiny.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def refused(folder: Path) -> Invalid:
    with pytest.raises(Invalid) as caught:
        loader.plan(folder)
    return caught.value


def test_examples_load_as_drafts_with_evidence(pat):
    loaded = loader.apply(pat, EXAMPLES)
    assert (
        Asset.objects.filter(kind=Kind.MODEL).count() >= 6 and Asset.objects.filter(kind=Kind.MCP_SERVER).count() >= 4
    )
    assert {version.state for version in loaded.versions} == {VersionState.DRAFT}
    assert len(loaded.versions) == Version.objects.count()
    kinds = (
        Evidence.objects.values("version").annotate(kinds=Count("kind", distinct=True)).values_list("kinds", flat=True)
    )
    assert set(kinds) == {3}
    granite = Version.objects.get(asset__slug="granite-3.3-2b-instruct", version="1.0")
    assert granite.runtime["demo"] and "vllm" in granite.runtimes
    assert {item.kind: item.verdict for item in granite.latest_evidence()} == {
        "licence": "pass", "card": "warn", "pin": "warn",
    }  # fmt: skip


def test_the_small_granite_fits_the_cpu_profile_of_the_examples(pat, settings):
    loader.apply(pat, EXAMPLES)
    needs = Version.objects.get(asset__slug="granite-3.3-2b-instruct").needs
    profile = HardwareProfile.objects.get(slug="cpu-demo")
    assert profile.accelerator_count == 0 and profile.currency == settings.CURRENCY
    assert fit.memory(needs, profile, 4096, 8, settings.GPU_MEMORY_UTILISATION).ok
    assert fit.kv_per_token(needs) == 81_920


def test_every_demo_command_starts_the_demo_engine(pat):
    loader.apply(pat, EXAMPLES)
    for version in Version.objects.filter(asset__kind=Kind.MODEL):
        assert version.runtime["command"][:3] == ["{python}", "-m", "endpoints.engines.demo"], version.asset
        assert version.runtime["demo"] is True


def test_loading_twice_changes_nothing(pat):
    loader.apply(pat, EXAMPLES)
    rows = Row.objects.count()
    again = loader.apply(pat, EXAMPLES)
    assert {change.action for change in again.changes} == {"same"}
    assert Row.objects.count() == rows


def test_plan_says_what_would_change_and_changes_nothing(pat, tmp_path):
    folder = write(tmp_path / "c", MODEL)
    assert [(item.kind, item.name, item.action) for item in loader.plan(folder)] == [
        ("asset", "tiny", "create"),
        ("version", "tiny@1.0", "create"),
    ]
    assert not Asset.objects.exists() and not Row.objects.exists()
    loader.apply(pat, folder)
    write(folder, MODEL.replace("summary: For tests.", "summary: Changed."))
    change = next(item for item in loader.plan(folder) if item.kind == "asset")
    assert change.action == "change" and change.detail == ("summary: 'For tests.' → 'Changed.'",)
    assert Asset.objects.get().summary == "For tests."


def test_a_mistake_names_file_and_line(tmp_path):
    folder = write(tmp_path / "c", MODEL.replace("layers: 1", "layers: 0"))
    assert refused(folder).sentence.startswith("tiny.yaml: line 20: versions.0.needs.layers")
    write(folder, MODEL.replace("publisher: Example", "publisher: Example\nnmae: x"))
    assert "tiny.yaml: line 5: nmae" in refused(folder).sentence


def test_a_version_that_would_change_names_its_file(pat, tmp_path):
    folder = write(tmp_path / "c", MODEL, "models.yaml")
    loader.apply(pat, folder)
    write(folder, MODEL.replace("licence: MIT", "licence: ISC"), "models.yaml")
    assert refused(folder).sentence.startswith("models.yaml: Version 1.0 of tiny is loaded with other content")


def test_a_new_thing_is_shown_with_what_it_holds(pat, tmp_path):
    asset, version = loader.plan(write(tmp_path / "c", MODEL))
    assert "publisher: Example" in asset.detail and "licence: MIT" in version.detail


def test_a_change_deep_in_a_long_text_is_shown(pat, tmp_path):
    folder = write(tmp_path / "c", MODEL.replace("Tests.", "Tests. " * 40 + "Old."))
    loader.apply(pat, folder)
    write(folder, MODEL.replace("Tests.", "Tests. " * 40 + "New."))
    (detail,) = loader.plan(folder)[0].detail
    before, after = detail.split(" → ")
    assert "Old." in before and "New." in after and len(detail) < 200


def test_a_loaded_version_never_changes(pat, tmp_path):
    folder = write(tmp_path / "c", MODEL)
    loader.apply(pat, folder)
    write(folder, MODEL.replace("licence: MIT", "licence: Apache-2.0").replace("summary: For tests.", "summary: New."))
    with pytest.raises(Invalid, match=r"Version 1\.0 of tiny is loaded with other content") as caught:
        loader.apply(pat, folder)
    assert "another version name" in caught.value.sentence
    assert Version.objects.get().licence == "MIT"
    assert Asset.objects.get().summary == "For tests.", "all or nothing"


def test_a_default_written_out_is_the_same_content(pat, tmp_path):
    folder = write(tmp_path / "c", MODEL)
    loader.apply(pat, folder)
    write(folder, MODEL.replace("engine: demo,", "engine: demo, health_path: /health, demo: false,"))
    assert {item.action for item in loader.plan(folder)} == {"same"}


def test_a_changed_price_is_a_change(pat, tmp_path):
    text = "profiles: [{slug: cpu, name: CPU, memory_bytes: 1024, price_per_hour: 0.02}]"
    folder = write(tmp_path / "c", text, "hardware-profiles.yaml")
    loader.apply(pat, folder)
    write(folder, text.replace("0.02", "0.03"), "hardware-profiles.yaml")
    (change,) = loader.plan(folder)
    assert change.action == "change" and "price_per_hour" in change.detail[0]
    loader.apply(pat, folder)
    assert str(HardwareProfile.objects.get().price_per_hour) == "0.0300"


def test_only_stewards_load(org, tmp_path):
    folder = write(tmp_path / "c", MODEL)
    for person in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            loader.apply(org.principal(person), folder)
    assert not Asset.objects.exists()


@pytest.mark.parametrize(
    ("change", "where", "word"),
    [
        (("slug: tiny", "slug: Tiny!"), "slug", "lower-case"),
        (("kind: model", "kind: agent"), "kind", "mcp-server"),
        (('version: "1.0"', "version: 1.0"), "versions.0.version", "text"),
        (("layers: 1,", "layers: 5000,"), "versions.0.needs.layers", "1000"),
        (("layers: 1,", "layers: true,"), "versions.0.needs.layers", "whole number"),
        (("parameters: 1000", "parameters: -1"), "versions.0.needs.parameters", "1"),
        (("bytes_per_parameter: 2.0", "bytes_per_parameter: .nan"), "versions.0.needs.bytes_per_parameter", ""),
        (("{port}", "{port.__class__}"), "versions.0.runtime.command.2", "Braces"),
        (("{port}", "{secret}"), "versions.0.runtime.command.2", "Braces"),
        (("{port}", "\u202e{port}"), "versions.0.runtime.command.2", "direction of writing"),
        (("homepage: https:", "homepage: javascript:"), "homepage", "https://"),
        (("name: Tiny", "name: Tiny\nnmae: x"), "nmae", "not a field"),
        (("languages: [en]", "languages: [no]"), "languages.0", "text"),  # YAML 1.1 reads no as false
        (("source: hf://", "source: hf:"), "versions.0.source", ""),
        (("tasks: [chat]", "tasks: [Chat Bot]"), "tasks.0", "lower-case"),
        (("publisher: Example", f"publisher: {'x' * 81}"), "publisher", "80"),
    ],
)
def test_a_wrong_field_is_named_with_file_limit_and_fix(tmp_path, change, where, word):
    assert change[0] in MODEL
    error = refused(write(tmp_path / "c", MODEL.replace(*change)))
    assert list(error.fields) == [f"tiny.yaml: {where}"]
    assert error.sentence.startswith("tiny.yaml: ") and word in error.sentence


def test_a_model_needs_runtime_and_needs_and_a_server_an_address(tmp_path):
    lines = [line for line in MODEL.splitlines() if "runtime:" not in line]
    assert "needs both runtime and needs" in refused(write(tmp_path / "a", "\n".join(lines))).sentence
    server = MODEL.replace("kind: model", "kind: mcp-server")
    assert "facts.remotes or facts.packages" in refused(write(tmp_path / "b", server)).sentence


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: &x [1]\nb: [*x, *x]", "aliases"),
        ("slug: a\nslug: b", "twice"),
        ("[" * 100_000, "deeper"),
        ("- " * 3000 + "x", "deeper"),
        ("a: !!python/object/apply:os.system [id]", "python/object"),
        ("slug: 2026-99-99", "cannot be read"),
        ("slug: " + "9" * 5000, "cannot be read"),
        ("slug: [unclosed", "line"),
        ("\x00", "not"),
        ("just text", "mapping"),
        ("", "mapping"),
        ("- a list", "mapping"),
    ],
)
def test_hostile_yaml_is_one_sentence(tmp_path, text, word):
    error = refused(write(tmp_path / "c", text))
    assert error.sentence.startswith("tiny.yaml: ") and word in error.sentence
    assert len(error.sentence) < 500


def test_billion_laughs_are_refused_before_they_grow(tmp_path):
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "aliases" in refused(write(tmp_path / "c", "\n".join(lines))).sentence


def test_a_large_file_is_refused_unread(tmp_path):
    assert "1,000,000 bytes" in refused(write(tmp_path / "c", "#" * (loader.FILE_BYTES + 1))).sentence


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "tiny.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused(tmp_path).sentence


def test_links_and_pipes_are_refused(tmp_path):
    write(tmp_path / "outside", MODEL)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.yaml").symlink_to(tmp_path / "outside" / "tiny.yaml")
    assert "symbolic link" in refused(inside).sentence
    (inside / "link.yaml").unlink()
    (inside / "folder").symlink_to(tmp_path / "outside")
    assert loader.plan(inside) == [], "a linked folder is not entered"
    os.mkfifo(inside / "pipe.yaml")
    assert "regular file" in refused(inside).sentence


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "FILES", 2)
    for name in ("a.yaml", "b.yaml", "c.yml"):
        write(tmp_path, MODEL, name)
    assert "more than 2 YAML files" in refused(tmp_path).sentence


def test_one_asset_in_two_files_is_refused(tmp_path):
    write(tmp_path, MODEL, "a.yaml")
    write(tmp_path, MODEL, "b.yaml")
    assert "described twice" in refused(tmp_path).sentence


def test_all_findings_of_all_files_are_told_at_once(tmp_path):
    write(tmp_path, MODEL.replace("kind: model", "kind: x"), "a.yaml")
    write(tmp_path, MODEL.replace("layers: 1,", "layers: 0,"), "b.yaml")
    error = refused(tmp_path)
    assert {name.split(":")[0] for name in error.fields} == {"a.yaml", "b.yaml"} and "And 1 more" in error.sentence


def test_no_directory_is_one_sentence(tmp_path):
    assert "not a directory" in refused(tmp_path / "missing").sentence
