"""The signature check against signatures of model_signing: who signed, and whether exactly what is pinned."""

import json
import shutil
from pathlib import Path

import model_signing
import pytest

from catalog.evidence import files, fit, signature, trust
from catalog.evidence.case import Case
from catalog.models import Attachment
from tests.catalog import signing_kit as kit
from tests.catalog.content_kit import case_of, pin_of, write_model
from tests.catalog.sigstore_kit import ISSUER, Sigstore
from tests.factories import make_version

pytestmark = pytest.mark.slow


@pytest.fixture
def signers(tmp_path, settings):
    settings.STATE_DIR = tmp_path / "state"
    settings.SIGNERS_DIR = tmp_path / "signers"
    settings.SIGNERS_DIR.mkdir()
    return settings.SIGNERS_DIR


@pytest.fixture
def key(signers):
    made = kit.new_key()
    (signers / "release-team.pub").write_bytes(kit.public_pem(made))
    return made


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def signed(model, key, tmp_path):
    kit.sign(model, key, tmp_path)
    return model


def verdict(folder: Path) -> tuple[str, str]:
    found = signature.check(case_of(folder))
    return found.verdict.value, found.summary


def test_a_signed_directory_passes(signed):
    found = signature.check(case_of(signed))
    assert found.verdict == "pass" and found.summary.startswith("Signed by release-team: 8 files, root sha256:")
    (said,) = found.report["signatures"]
    assert said["signer"]["method"] == "key" and said["signer"]["fingerprint"].startswith("sha256:")
    assert (
        said["root"].removeprefix("sha256:") == kit.statement_of(signed / "model.sig")["subject"][0]["digest"]["sha256"]
    )
    assert said["isolation"]["process"] == "own" and len(found.tool) <= 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "LICENSE").write_text("MIT Licence\n"), "other content of LICENSE"),
        (lambda folder: (folder / "LICENSE").rename(folder / "LICENCE"), "covers LICENSE, which is not there"),
        (lambda folder: (folder / "more.txt").write_text("x"), "does not cover more.txt"),
        (lambda folder: (folder / "README.md").unlink(), "README.md, which is not there"),
        (lambda folder: ((folder / ".git").mkdir(), (folder / ".git" / "x.py").write_text("x")), "not cover .git/x.py"),
    ],
)
def test_one_change_flips_it(signed, change, words):
    change(signed)
    said, summary = verdict(signed)
    assert said == "fail" and words in summary


def _verified_by_the_library(folder: Path) -> None:
    place = folder.parent / "signers" / "release-team.pub"
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=place).verify(folder, folder / "model.sig")


def test_one_byte_of_the_weights_flips_it(signed):
    raw = bytearray((signed / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (signed / "model.safetensors").write_bytes(raw)
    assert verdict(signed) == ("fail", "model.sig: it covers other content of model.safetensors.")


def test_an_ignored_file_that_changes_flips_it(model, key, tmp_path):
    """The trap: the library believes the signature about what to pass over, and goes on saying that all is well."""
    (model / "modeling_evil.py").write_text("# harmless\n")
    kit.sign(model, key, tmp_path, ignore=["modeling_evil.py"])
    (model / "modeling_evil.py").write_text("import os; os.system('id')\n")
    _verified_by_the_library(model)
    said, summary = verdict(model)
    assert said == "fail" and "passes over modeling_evil.py" in summary
    (model / "modeling_evil.py").unlink()
    assert verdict(model)[0] == "fail", "also when it is not there yet"


def test_a_pinned_file_that_git_reads_is_compared_with_the_pin(signed):
    case = case_of(signed)
    assert signature.check(case).verdict == "pass"
    (signed / ".gitattributes").write_text("*.safetensors filter=lfX\n")
    found = signature.check(case)
    assert found.verdict == "fail" and "not what was pinned" in found.summary


def test_the_pin_is_what_counts(signed):
    case = case_of(signed)
    (signed / "more.txt").write_text("x")
    found = signature.check(case)
    assert found.verdict == "fail" and "more.txt" in found.summary


def test_drift_flips_it(signed):
    case = case_of(signed)
    assert case.pin
    raw = bytearray((signed / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (signed / "model.safetensors").write_bytes(raw)
    case.pin.state, case.pin.drift = "drifted", {"revision": "", "changed": ["model.safetensors"]}
    for driver in (signature, files, fit):
        found = driver.check(case)
        assert found.verdict == "fail" and "model.safetensors" in found.summary
    case.pin.drift["revision"] = "f" * 40
    assert signature.check(case).verdict == "pass", "the name moved on; what is pinned is still what was signed"


def test_unsigned_warns_unless_signatures_are_demanded(model, signers, settings):
    assert verdict(model) == ("warn", "Not signed.")
    settings.REQUIRE_SIGNATURE = True
    assert verdict(model) == ("fail", "Not signed.")


def test_a_signature_that_nobody_can_judge_is_none(signed, signers, settings):
    shutil.rmtree(signers)
    said, summary = verdict(signed)
    assert said == "warn" and "trusts no signer" in summary
    settings.REQUIRE_SIGNATURE = True
    assert verdict(signed)[0] == "fail"


def test_a_key_that_is_not_trusted_fails(signed, signers):
    (signers / "release-team.pub").write_bytes(kit.public_pem(kit.new_key()))
    said, summary = verdict(signed)
    assert said == "fail" and "no signer whom this installation trusts" in summary


def test_a_right_signature_over_other_files_fails(model, key, tmp_path):
    other = write_model(tmp_path / "other")
    (other / "config.json").write_text("{}")
    shutil.copy(kit.sign(other, key, tmp_path), model / "model.sig")
    assert verdict(model) == ("fail", "model.sig: it covers other content of config.json.")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-10],
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "mediaType": "application/x"}),
        lambda text: (
            text.replace('"sig": "M', '"sig": "N') if '"sig": "M' in text else text.replace('"sig":"M', '"sig":"N')
        ),
        lambda text: json.dumps(json.loads(text) | {"verificationMaterial": {}}),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_signature_fails(signed, damage):
    path = signed / "model.sig"
    path.write_text(damage(path.read_text()))
    said, summary = verdict(signed)
    assert said == "fail" and summary.startswith("model.sig: ")


def test_a_statement_that_was_put_together_by_hand(signed, key):
    """A trusted signer may be careless: what the statement leaves open fails."""
    path = signed / "model.sig"
    honest = kit.statement_of(path)
    twice = json.loads(json.dumps(honest))
    twice["predicate"]["resources"].append(twice["predicate"]["resources"][0])
    kit.resigned(path, key, twice)
    assert verdict(signed)[0] == "fail", "a file that stands there twice"
    fewer = json.loads(json.dumps(honest))
    fewer["predicate"]["resources"] = [one for one in fewer["predicate"]["resources"] if one["name"] != "config.json"]
    kit.resigned(path, key, fewer)
    assert verdict(signed)[0] == "fail", "the root digest is another one"
    wide = json.loads(json.dumps(honest))
    wide["predicate"]["serialization"]["ignore_paths"] = ["config.json"]
    kit.resigned(path, key, wide)
    assert "passes over config.json" in verdict(signed)[1]
    kit.resigned(path, key, honest | {"predicateType": "https://slsa.dev/provenance/v1"})
    assert verdict(signed)[0] == "fail", "a statement of another kind"


@pytest.mark.parametrize("hashing", [{"algorithm": "blake2"}, {"algorithm": "blake3"}, {"shard_size": 10_000}])
def test_other_hashes_are_computed_again(model, key, tmp_path, hashing):
    kit.sign(model, key, tmp_path, **hashing)
    assert verdict(model)[0] == "pass"
    raw = bytearray((model / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (model / "model.safetensors").write_bytes(raw)
    assert verdict(model) == ("fail", "model.sig: it covers other content of model.safetensors.")


def test_certificates_of_a_trusted_authority(model, signers, tmp_path):
    root, signing = kit.new_key(), kit.new_key()
    authority = kit.certificate(root, "Example Root")
    signer = kit.certificate(signing, "Release signing", by=(authority, root))
    (signers / "example.crt").write_bytes(kit.pem_of(authority))
    (tmp_path / "signer.crt").write_bytes(kit.pem_of(signer))
    config = model_signing.signing.Config().use_certificate_signer(
        private_key=kit.private_pem(signing, tmp_path / "key.pem"),
        signing_certificate=tmp_path / "signer.crt",
        certificate_chain=[signers / "example.crt"],
    )
    config.sign(model, model / "model.sig")
    found = signature.check(case_of(model))
    assert found.verdict == "pass" and "Signed by example" in found.summary
    assert found.report["signatures"][0]["signer"]["subject"] == "CN=Release signing"
    (signers / "example.crt").write_bytes(kit.pem_of(kit.certificate(kit.new_key(), "Example Root")))
    assert verdict(model)[0] == "fail", "another authority of the same name"


def test_files_that_are_no_signers_are_told(signed, signers):
    (signers / "notes.txt").write_text("x")
    (signers / "broken.pub").write_text("no key")
    (signers / "half.json").write_text('{"identity": "a@example.com"}')
    (signers / "trusted_root.json").write_text("{}")
    found = signature.check(case_of(signed))
    assert found.verdict == "pass"
    assert found.report["problems"] == [
        "half.json needs identity, issuer and trust_config, the name of a file beside it."
    ]
    assert [item["name"] for item in trust.signers()[0]] == ["broken", "release-team"]


@pytest.mark.django_db
def test_a_signature_that_somebody_added(model, key, tmp_path, org):
    version = make_version("draft")
    version.runtime = {"engine": "vllm", "command": ["vllm"]}
    case = Case(version, pin_of(model), case_of(model).open_tree)
    assert signature.check(case).verdict == "warn"
    text = kit.sign(model, key, tmp_path, target=tmp_path / "outside.sig").read_text()
    Attachment.objects.create(version=version, kind="signature", name="outside.sig", content=text, digest="sha256:1")
    found = signature.check(case)
    assert found.verdict == "pass" and found.report["signatures"][0]["signature"] == "attachment outside.sig"


# --- Sigstore, without a network --------------------------------------------------------------------------------------


@pytest.fixture
def keyless(model, signers, tmp_path):
    """A model signed by an identity, and the instance of Sigstore that certified it."""
    instance = Sigstore()
    (signers / "root-of-trust.json").write_text(json.dumps(instance.trust_config()))
    trusted = {"identity": "release@example.com", "issuer": ISSUER, "trust_config": "root-of-trust.json"}
    (signers / "releases.json").write_text(json.dumps(trusted))
    statement = kit.statement_of(kit.sign(model, kit.new_key(), tmp_path, target=tmp_path / "by-key.sig"))
    instance.sign(statement, "release@example.com", model / "model.sig")
    return instance, statement


def test_a_sigstore_bundle_is_verified_offline(model, keyless):
    found = signature.check(case_of(model))
    assert found.verdict == "pass" and "Signed by release@example.com" in found.summary
    signer = found.report["signatures"][0]["signer"]
    assert (signer["method"], signer["identity"], signer["issuer"]) == ("sigstore", "release@example.com", ISSUER)


def test_a_sigstore_bundle_of_somebody_else_fails(model, keyless):
    instance, statement = keyless
    instance.sign(statement, "stranger@example.com", model / "model.sig")
    assert verdict(model)[0] == "fail", "another identity"
    instance.sign(statement, "release@example.com", model / "model.sig", issuer="https://elsewhere.example.com")
    assert verdict(model)[0] == "fail", "another issuer"
    Sigstore().sign(statement, "release@example.com", model / "model.sig")
    assert verdict(model)[0] == "fail", "another root of trust"
    instance.sign(statement, "release@example.com", model / "model.sig")
    bundle = json.loads((model / "model.sig").read_text())
    other = {**bundle, "verificationMaterial": {**bundle["verificationMaterial"], "tlogEntries": []}}
    (model / "model.sig").write_text(json.dumps(other))
    assert verdict(model)[0] == "fail", "no entry of the log"


def test_a_sigstore_bundle_over_other_files_fails(model, keyless):
    (model / "LICENSE").write_text("Another licence\n")
    assert verdict(model) == ("fail", "model.sig: it covers other content of LICENSE.")
