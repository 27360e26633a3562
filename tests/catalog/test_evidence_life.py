"""A signed model from its directory to approval: all checks by the queue, and one changed byte that stops it."""

import pytest

from catalog import collecting, jobs, services, standing
from catalog.models import Verdict, Version, VersionState
from catalog.specs import AssetSpec
from portal.errors import Conflict
from tests.catalog import signing_kit
from tests.catalog.content_kit import COMMAND, write_model
from tests.factories import lead

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CARD = "## Intended use\nTests.\n\n## Limitations\nMany.\n\n## Evaluation\n\n| name | score |\n|---|---|\n| X | 1 |\n"


@pytest.fixture
def version(tmp_path, settings):
    """A draft whose content is a signed directory."""
    settings.STATE_DIR = tmp_path / "state"
    settings.SOURCE_DIRS = {"models": tmp_path / "models"}
    settings.SIGNERS_DIR = tmp_path / "signers"
    settings.SIGNERS_DIR.mkdir()
    folder = write_model(tmp_path / "models" / "tiny")
    key = signing_kit.new_key()
    (settings.SIGNERS_DIR / "release-team.pub").write_bytes(signing_kit.public_pem(key))
    signing_kit.sign(folder, key, tmp_path)
    spec = AssetSpec.model_validate({
        "slug": "tiny", "kind": "model", "name": "Tiny", "publisher": "Example", "summary": "For tests.",
        "tasks": ["chat"], "languages": ["en"], "homepage": "https://example.com/tiny", "description": CARD,
        "versions": [{
            "version": "1.0", "source": f"file://{folder}", "licence": "MIT",
            "runtime": {"engine": "vllm", "command": COMMAND},
            "needs": {
                "parameters": 41_088, "bytes_per_parameter": 2.0, "layers": 2, "kv_heads": 2, "head_dim": 16,
                "max_context_tokens": 512,
            },
            "facts": {"sources": {"card": ["an example"]}},
        }],
    })  # fmt: skip
    (made,) = services.load_asset(lead(), spec)[1]
    return made


def collected(version) -> dict[str, str]:
    jobs.run_due("worker", seconds=600)
    return {item.kind: item.verdict for item in Version.objects.get(pk=version.pk).latest_evidence()}


def test_a_signed_model_gets_in_and_a_changed_byte_keeps_it_out(version, tmp_path):
    verdicts = collected(version)
    assert verdicts == dict.fromkeys(("card", "files", "fit", "licence", "ml-bom", "pin", "signature"), Verdict.PASS)
    assert standing.problems(Version.objects.get(pk=version.pk)) == []

    weights = tmp_path / "models" / "tiny" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    services.submit(lead(), version)
    collecting.schedule(version, ["pin"])
    verdicts = collected(version)
    assert {kind for kind, verdict in verdicts.items() if verdict == Verdict.FAIL} >= {"pin", "signature", "files"}
    with pytest.raises(Conflict) as refused:
        services.approve(lead(), Version.objects.get(pk=version.pk))
    assert refused.value.code == "evidence"
    assert Version.objects.get(pk=version.pk).state == VersionState.IN_REVIEW
