"""Documents that people add: their shapes, Scorecard and provenance (upstream), and measurements (performance)."""

import datetime as dt
import json

import pytest

from catalog.evidence import attachments, performance, upstream
from catalog.evidence.case import Case
from catalog.models import Attachment, Pin, PinState
from portal.errors import Invalid
from tests.catalog import signing_kit as kit
from tests.factories import make_version

pytestmark = pytest.mark.django_db
SCORECARD = {
    "date": "2026-11-20", "repo": {"name": "github.com/example/tiny", "commit": "abc"},
    "scorecard": {"version": "v5.5.0", "commit": "def"}, "score": 7.3,
    "checks": [{"name": "Code-Review", "score": 9, "reason": "x"}, {"name": "Fuzzing", "score": -1, "reason": "x"}],
    "metadata": [],
}  # fmt: skip
MEASURED = {
    "hardware_profile": "gpu-l40s", "tokens_per_second": 1234.5, "ttft_p50_ms": 80, "cold_start_seconds": 95,
    "engine": "vllm 0.33.0", "measured_on": "2026-11-20", "concurrency": 8,
}  # fmt: skip
BUILDER = "https://ci.example.com/builder/1"
SHA = "a" * 64


@pytest.fixture
def version(org):
    made = make_version("draft")
    made.runtime = {"engine": "vllm", "command": ["vllm"]}
    return made


@pytest.fixture
def key(tmp_path, settings):
    settings.SIGNERS_DIR = tmp_path / "signers"
    settings.SIGNERS_DIR.mkdir()
    settings.SLSA_BUILDERS = [BUILDER]
    made = kit.new_key()
    (settings.SIGNERS_DIR / "builder.pub").write_bytes(kit.public_pem(made))
    return made


def add(version, kind: str, value, name: str = "file.json") -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    count = Attachment.objects.count()
    Attachment.objects.create(version=version, kind=kind, name=name, content=text, digest=f"sha256:{count}")


def pinned(version) -> Pin:
    return Pin(version=version, state=PinState.RESOLVED, digest="sha256:x", revision="sha256:" + "c" * 64, files=[
        {"path": "model.safetensors", "bytes": 10, "sha256": SHA},
    ])  # fmt: skip


def unread():
    raise AssertionError("nothing is read for it")


def judged(driver, version, pin=None):
    return driver.check(Case(version, pin, unread))


# --- Shapes -----------------------------------------------------------------------------------------------------------


def provenance(key, *, subject=None, builder=BUILDER, parameters=None, predicate=upstream.PREDICATE):
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model.safetensors", "digest": {"sha256": SHA}}] if subject is None else subject,
        "predicateType": predicate,
        "predicate": {
            "buildDefinition": {
                "buildType": "https://ci.example.com/workflow/v1",
                "externalParameters": parameters or {"workflow": {"repository": "https://github.com/example/tiny"}},
            },
            "runDetails": {"builder": {"id": builder}},
        },
    }
    return kit.envelope(key, json.dumps(statement).encode())


GOOD = {"scorecard": SCORECARD, "performance": MEASURED}


@pytest.mark.parametrize("kind", GOOD)
def test_good_documents_are_taken(kind):
    attachments.CHECKS[kind](json.dumps(GOOD[kind]))


def test_signatures_and_provenance_are_taken(tmp_path):
    sealed = kit.envelope(kit.new_key(), b'{"predicateType": "x", "predicate": {}}')
    attachments.CHECKS["provenance"](json.dumps(sealed))
    bundle = {"mediaType": kit.BUNDLE, "verificationMaterial": {}, "dsseEnvelope": sealed}
    attachments.CHECKS["provenance"](json.dumps(bundle))
    attachments.CHECKS["signature"](json.dumps(bundle))
    with pytest.raises(Invalid):
        attachments.CHECKS["signature"](json.dumps(sealed))


BAD = ["", "x", "[]", "null", "1", '"x"', "{", '{"a": 1, "a": 2}', "[" * 99_999, '{"a": NaN}', '{"a": "\\u0000"}',
       json.dumps(GOOD["scorecard"] | {"repo": {"name": "x", "commit": "\ud800"}}), '{"a": 1e999}',
       json.dumps({"a": "x" * 1_000_000}), '{"a":' * 50 + "1" + "}" * 50, "{}"]  # fmt: skip


@pytest.mark.parametrize("kind", ["signature", "scorecard", "provenance", "performance", "ml-bom"])
def test_everything_else_is_refused_with_a_sentence(kind):
    for text in BAD:
        with pytest.raises(Invalid) as caught:
            attachments.CHECKS[kind](text)
        assert list(caught.value.fields) == ["content"] and caught.value.sentence.endswith(".")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("scorecard", {"score": 11}), ("scorecard", {"score": "7"}), ("scorecard", {"score": True}),
        ("scorecard", {"checks": {}}), ("scorecard", {"checks": [{"name": "x"}]}), ("scorecard", {"checks": ["x"]}),
        ("scorecard", {"repo": "x"}), ("scorecard", {"date": ""}), ("scorecard", {"scorecard": {}}),
        ("performance", {"tokens_per_second": -1}), ("performance", {"tokens_per_second": "fast"}),
        ("performance", {"concurrency": 0}), ("performance", {"concurrency": 1.5}), ("performance", {"more": 1}),
        ("performance", {"measured_on": "yesterday"}), ("performance", {"measured_on": "2999-01-01"}),
        ("performance", {"hardware_profile": "../x"}), ("performance", {"engine": "a\u202eb"}),
        ("performance", {"ttft_p50_ms": 10**400}),
    ],
)  # fmt: skip
def test_a_field_out_of_bounds_is_refused(kind, change):
    with pytest.raises(Invalid):
        attachments.CHECKS[kind](json.dumps(GOOD[kind] | change))


# --- Upstream ---------------------------------------------------------------------------------------------------------


def test_nothing_added_means_nothing_to_say(version):
    assert not upstream.applies(version) and not performance.applies(version)
    add(version, "signature", {})
    assert not upstream.applies(version)
    add(version, "scorecard", SCORECARD)
    assert upstream.applies(version) and not performance.applies(version)


@pytest.mark.parametrize(
    ("score", "verdict", "words"), [(7.3, "pass", "7.3 of 10"), (4.9, "warn", "below 5"), (0, "warn", "is 0, below"),
                                    (-1, "warn", "inconclusive"), (5, "pass", "5 of 10")],
)  # fmt: skip
def test_scorecard_verdicts(version, score, verdict, words):
    add(version, "scorecard", SCORECARD | {"score": score})
    found = judged(upstream, version)
    assert found.verdict == verdict and words in found.summary
    assert found.report["scorecard"]["inconclusive"] == ["Fuzzing"]


def test_the_newest_document_counts(version, settings):
    add(version, "scorecard", SCORECARD | {"score": 2})
    add(version, "scorecard", SCORECARD)
    assert judged(upstream, version).verdict == "pass"
    settings.SCORECARD_FLOOR = 8
    assert judged(upstream, version).verdict == "warn"


def test_provenance_of_a_known_builder_passes(version, key):
    add(version, "provenance", provenance(key))
    found = judged(upstream, version, pinned(version))
    assert (found.verdict, found.summary) == ("pass", f"Built by {BUILDER}, signed by builder.")
    assert found.report["provenance"]["uncovered"] == 1, "the digest of the revision"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subject": [{"name": "other.bin", "digest": {"sha256": "b" * 64}}]}, "is about other.bin"),
        ({"subject": []}, "names nothing"),
        ({"subject": [{"name": "x"}]}, "lacks what SLSA"),
        ({"subject": {"a": 1}}, "lacks what SLSA"),
        ({"builder": "https://elsewhere.example.com"}, "not one of those in GATEHOUSE_SLSA_BUILDERS"),
        ({"parameters": {"workflow": {}, "patch": "x"}}, "was given 'patch'"),
        ({"predicate": "https://example.com/other"}, "no SLSA provenance"),
    ],
)
def test_provenance_that_does_not_hold_fails(version, key, change, words):
    add(version, "provenance", provenance(key, **change))
    found = judged(upstream, version, pinned(version))
    assert found.verdict == "fail" and words in found.summary


def test_provenance_that_nobody_trusted_signed_fails(version, key):
    add(version, "provenance", provenance(kit.new_key()))
    assert "No key that this installation trusts" in judged(upstream, version, pinned(version)).summary
    sealed = provenance(key)
    sealed["payload"] = provenance(key, builder="x")["payload"]
    add(version, "provenance", sealed)
    assert judged(upstream, version, pinned(version)).verdict == "fail", "another payload than what was signed"


def test_provenance_waits_for_the_content(version, key):
    add(version, "provenance", provenance(key))
    found = judged(upstream, version)
    assert found.verdict == "fail" and "was not read yet" in found.summary


def test_provenance_from_another_repository_fails(version, key):
    version.facts = {"repository": "https://github.com/example/tiny.git"}
    add(version, "provenance", provenance(key))
    assert judged(upstream, version, pinned(version)).verdict == "pass"
    version.facts = {"repository": "https://github.com/example/other"}
    found = judged(upstream, version, pinned(version))
    assert found.verdict == "fail" and "not from https://github.com/example/other" in found.summary


def test_provenance_of_a_package_of_a_server(version, key):
    version.runtime, version.source = {}, "builtin://x"
    version.facts = {"packages": [{"digest": f"sha256:{SHA}"}]}
    add(version, "provenance", provenance(key))
    add(version, "scorecard", SCORECARD | {"score": 1})
    found = judged(upstream, version)
    assert found.verdict == "warn" and found.summary.startswith("Scorecard") and "Built by" in found.summary


# --- Performance ------------------------------------------------------------------------------------------------------


@pytest.fixture
def today():
    return dt.datetime.now(dt.UTC).date().isoformat()


def test_the_newest_measurement_of_each_profile_is_shown(version, today):
    add(version, "performance", MEASURED | {"tokens_per_second": 9999})
    add(version, "performance", MEASURED | {"measured_on": today})
    add(version, "performance", MEASURED | {"measured_on": today, "hardware_profile": "cpu", "tokens_per_second": 12})
    found = judged(performance, version)
    assert found.verdict == "pass" and found.summary.startswith("1,234.5 tokens/s on gpu-l40s (vllm 0.33.0, 8 calls)")
    assert [row["hardware_profile"] for row in found.report["measurements"]] == ["cpu", "gpu-l40s"]
    assert json.dumps(found.report)


def test_old_measurements_warn(version):
    add(version, "performance", MEASURED | {"measured_on": "2020-01-01"})
    found = judged(performance, version)
    assert found.verdict == "warn" and "more than 180 days ago" in found.summary


def test_what_an_earlier_release_took_does_not_break_the_check(version):
    add(version, "performance", "{}")
    add(version, "scorecard", "{}")
    add(version, "provenance", "not json")
    assert judged(performance, version).verdict == "warn"
    assert judged(upstream, version).verdict == "fail"
