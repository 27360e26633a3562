"""The ML-BOM: valid by the official schema, the same bytes every time, the card kept, vendors' own ones judged."""

import json
import time

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from catalog import services
from catalog.evidence import DRIVERS, Case, ml_bom
from catalog.evidence.attachments import CHECKS
from catalog.interchange import bom, cards
from catalog.interchange.validating import ADDRESSES, DEPTH, ITEMS, validate
from catalog.models import Attachment, Pin
from portal.errors import Invalid
from tests.factories import CARD, make_asset, make_version

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
FULL = (
    CARD
    + """
## Evaluation

| Benchmark | Metric | Value |
| --- | :--: | --- |
| MMLU | accuracy | 63.45 |
| GSM8K | exact match | 60.19 |

## More benchmarks

| Task | 2B | 8B |
|---|---|---|
| ARC | 53.6 | 64.0 |

## Training data

- Common Crawl, 2024
- A set of our own

## Ethical considerations

It repeats what it has read.
"""
)


@pytest.fixture
def version(org):
    """A model with content of its own, pinned."""
    made = make_version("draft", asset=make_asset("granite", name="Granite 2B", description=FULL))
    made.source, made.runtime = f"hf://Example/Granite-2B@{COMMIT}", {"engine": "vllm", "command": ["vllm"]}
    made.facts = {"config": {"architecture": "GraniteForCausalLM", "model_type": "granite"}, "sources": {"a": ["b"]}}
    made.save()
    files = [
        {"path": "config.json", "bytes": 700, "sha256": "a" * 64},
        {"path": "model.safetensors", "bytes": 5_000_000_000, "sha256": "b" * 64},
    ]
    Pin.objects.create(
        version=made,
        state="resolved",
        revision=COMMIT,
        digest="sha256:" + "c" * 64,
        files=files,
        total_bytes=5_000_000_700,
    )
    made.refresh_from_db()
    return made


def found(version):
    return ml_bom.check(Case(version, version.pin, lambda: pytest.fail("it reads the pin, not the content")))


def attach(version, document, name="vendor.cdx.json"):
    text = document if isinstance(document, str) else json.dumps(document)
    return Attachment.objects.create(
        version=version, kind="ml-bom", name=name, content=text, digest=f"sha256:{hash(text)}"
    )


def vendor(**model):
    """What a publisher would send: other words than ours, and fields that no library keeps."""
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "metadata": {"component": {
            "type": "machine-learning-model", "name": "Granite-2B", "bom-ref": "m",
            "modelCard": {"considerations": {"users": ["Analysts"]}, "properties": [{"name": "x", "value": "y"}]},
        } | model},
        "components": [
            {"type": "file", "name": "model.safetensors", "hashes": [{"alg": "SHA-256", "content": "b" * 64}]}
        ],
    }  # fmt: skip


# --- Ours -------------------------------------------------------------------------------------------------------------


def test_the_official_schema_takes_it(version):
    text = bom.text_of(version)
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    document = json.loads(text)
    subject = document["metadata"]["component"]
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.7")
    assert (subject["type"], subject["name"], subject["version"]) == ("machine-learning-model", "Granite 2B", "1.0")
    assert subject["purl"] == f"pkg:huggingface/Example/Granite-2B@{COMMIT}"
    assert subject["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    files = {item["name"]: item["hashes"] for item in document["components"]}
    assert files["model.safetensors"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert {"name": "gatehouse:content", "value": "sha256:" + "c" * 64} in subject["properties"]


def test_the_card_is_in_it(version):
    card = bom.generate(version)["metadata"]["component"]["modelCard"]
    parameters = card["modelParameters"]
    assert (parameters["task"], parameters["modelArchitecture"]) == ("chat", "GraniteForCausalLM")
    assert [item["name"] for item in parameters["datasets"]] == ["Common Crawl, 2024", "A set of our own"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "63.45", "slice": "MMLU"},
        {"type": "exact match", "value": "60.19", "slice": "GSM8K"},
        {"type": "ARC", "value": "53.6", "slice": "2B"},
        {"type": "ARC", "value": "64.0", "slice": "8B"},
    ]
    said = card["considerations"]
    assert said["useCases"] == ["For tests."] and said["technicalLimitations"] == ["Only for tests."]
    assert said["ethicalConsiderations"] == [{"name": "It repeats what it has read."}]


def test_the_same_version_gives_the_same_bytes(version):
    first = bom.text_of(version)
    assert bom.text_of(type(version).objects.get(pk=version.pk)) == first
    serial = json.loads(first)["serialNumber"]
    version.pin.files = [*version.pin.files, {"path": "x", "bytes": 1, "sha256": "d" * 64}]
    assert json.loads(bom.text_of(version))["serialNumber"] != serial


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("LicenseRef-Llama-3.1-Community", {"expression": "LicenseRef-Llama-3.1-Community"}),
        ("NOASSERTION", {"license": {"name": "NOASSERTION"}}),
        ("what people write", {"license": {"name": "what people write"}}),
    ],
)
def test_every_licence_is_valid(version, expression, shown):
    version.licence = expression
    assert validate(bom.text_of(version))["metadata"]["component"]["licenses"] == [shown]


@pytest.mark.parametrize(
    "homepage",
    ["https://example.com/a[b] c?d=é#x#y", "http://[::1]/x", "https://e.example/%zz", "", "https://exa mple"],
)
def test_addresses_of_people_never_make_it_invalid(version, homepage):
    version.asset.homepage = homepage
    validate(bom.text_of(version))


def test_other_kinds_and_sources(org):
    server = make_version(
        "draft",
        asset=make_asset("server", kind="mcp-server"),
        facts={"remotes": [{"type": "sse", "url": "https://m.example/"}]},
    )
    assert bom.generate(server)["metadata"]["component"]["type"] == "application"
    image = make_version("draft", asset=make_asset("image"))
    image.source = "oci://registry.example.com/ai/Granite@sha256:" + "e" * 64
    purl = bom.generate(image)["metadata"]["component"]["purl"]
    assert purl.startswith("pkg:oci/granite@sha256") and "repository_url=registry.example.com/ai/" in purl
    image.source = "s3://bucket/granite"
    assert "purl" not in bom.generate(image)["metadata"]["component"]


def test_thousands_of_files_stay_a_document_that_can_be_validated(version):
    many = [{"path": f"part-{n:05}", "bytes": n, "sha256": f"{n:064x}"} for n in range(3000)]
    version.pin.files = many
    document = validate(bom.text_of(version))
    names = {item["name"] for item in document["components"]}
    assert len(names) == bom.FILES and "part-02999" in names
    assert {"name": "gatehouse:files", "value": "3000"} in document["metadata"]["component"]["properties"]


def test_it_comes_from_the_api_and_the_page(version, org, client_for, api_for):
    path = "/catalog/assets/granite/versions/1.0/ml-bom"
    client = api_for(org.pat, "catalog:read")
    answer = client.get(path)
    assert answer.status_code == 200 and answer["Content-Type"] == "application/vnd.cyclonedx+json; version=1.7"
    assert answer.content.decode() == bom.text_of(version)
    page = client_for(org.pat).get("/catalog/granite/versions/1.0/ml-bom/")
    assert page.content == answer.content and 'filename="granite-1.0.cdx.json"' in page["Content-Disposition"]
    assert client.get(path, {"source": "vendor"}).status_code == 404
    assert client.get(path, {"source": "both"}).status_code == 422
    assert api_for(org.cy, "catalog:read").get(path).status_code == 404, "a draft is not everybody's"
    assert client_for(org.cy).get("/catalog/granite/versions/1.0/ml-bom/").status_code == 404


# --- Theirs -----------------------------------------------------------------------------------------------------------


def test_the_check_is_registered_for_models_with_content(version, org):
    assert DRIVERS["ml-bom"].TITLE == "ML-BOM" and ml_bom.applies(version)
    assert not ml_bom.applies(make_version(asset=make_asset("demo")))


def test_without_a_vendors_document_ours_is_judged(version):
    finding = found(version)
    assert finding.verdict == "pass" and finding.report["datasets"] == 2 and finding.report["metrics"] == 4


def test_an_exported_bom_comes_back_whole(version, api_for, org):
    """Ours, kept as a vendor's document and downloaded again: not one byte of the card is lost."""
    text = bom.text_of(version)
    CHECKS["ml-bom"](text)
    attach(version, text)
    answer = api_for(org.pat, "catalog:read").get("/catalog/assets/granite/versions/1.0/ml-bom", {"source": "vendor"})
    assert answer.content.decode() == text
    assert json.loads(answer.content)["metadata"]["component"]["modelCard"] == cards.model_card(version)
    assert found(version).verdict == "pass" and found(version).report["source"] == "vendor"


@pytest.mark.parametrize(
    ("change", "verdict", "word"),
    [
        ({}, "pass", "matches"),
        ({"name": "granite 2b"}, "pass", "matches"),
        ({"name": "something", "purl": f"pkg:huggingface/example/granite-2b@{COMMIT}"}, "pass", "matches"),
        ({"name": "Llama"}, "fail", "not Granite 2B"),
        ({"purl": f"pkg:huggingface/Example/Granite-2B@{OTHER}"}, "fail", "is pinned"),
        ({"modelCard": {}}, "pass", "matches"),
    ],
)
def test_a_vendors_document_is_judged(version, change, verdict, word):
    attach(version, vendor(**change))
    finding = found(version)
    assert (finding.verdict, word in finding.summary) == (verdict, True), finding.summary


@pytest.mark.parametrize(
    ("files", "verdict", "word"),
    [
        ([("model.safetensors", "b" * 64), ("config.json", "a" * 64)], "pass", "2 files"),
        ([("./model.safetensors", "B" * 64)], "pass", "1 file"),
        ([("model.safetensors", "0" * 64), ("config.json", "a" * 64)], "fail", "another hash"),
        ([("other.bin", "0" * 64)], "fail", "not pinned"),
        ([("other.bin", "0" * 64), ("config.json", "a" * 64)], "warn", "not pinned"),
        ([], "warn", "no hash"),
    ],
)
def test_its_hashes_must_be_those_of_the_pin(version, files, verdict, word):
    document = vendor()
    document["components"] = [
        {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": content}]} for name, content in files
    ]
    attach(version, document)
    finding = found(version)
    assert (finding.verdict, word in finding.summary) == (verdict, True), finding.summary


def test_the_newest_document_counts(version):
    attach(version, vendor(name="Llama"), name="old.json")
    attach(version, vendor(), name="new.json")
    assert found(version).verdict == "pass" and "new.json" in found(version).summary


def test_a_document_without_a_card_warns(version):
    document = vendor()
    del document["metadata"]["component"]["modelCard"]
    attach(version, document)
    assert found(version).verdict == "warn" and "no model card" in found(version).summary


HOSTILE = {
    "no JSON": "{",
    "no object": "[]",
    "another format": '{"spdxVersion": "SPDX-2.3"}',
    "another version": json.dumps(vendor() | {"specVersion": "1.4"}),
    "no model": json.dumps(vendor(type="library")),
    "unknown field": json.dumps(vendor(colour="red")),
    "wrong type": json.dumps(vendor(name=7)),
    "twice": '{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX", "specVersion": "1.7"}',
    "no number": '{"bomFormat": "CycloneDX", "specVersion": "1.7", "version": NaN}',
    "deep": json.dumps(vendor()).replace('"y"', "[" * 5000 + "]" * 5000),
    "very deep": "[" * 200_000,
    "long list": json.dumps(vendor() | {"components": [{"type": "file", "name": str(n)} for n in range(ITEMS + 1)]}),
    "nested lists": json.dumps(vendor(tags=[[]])),
    "long addresses": json.dumps(
        vendor(externalReferences=[{"type": "website", "url": "https://x/" + "a" * ADDRESSES}])
    ),
    "large": json.dumps(vendor(description="x" * 1_000_001)),
    "components of no kind": json.dumps(vendor() | {"components": {"a": 1}}),
    "metadata of no kind": json.dumps(vendor() | {"metadata": [1]}),
    "half a surrogate": '{"bomFormat": "\\ud800"}',
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_documents_are_refused_in_time(version, name):
    started = time.monotonic()
    with pytest.raises(Invalid) as caught:
        CHECKS["ml-bom"](HOSTILE[name])
    assert time.monotonic() - started < 5 and "content" in caught.value.fields
    assert len(caught.value.sentence) < 500 and "Traceback" not in caught.value.sentence
    attach(version, HOSTILE[name][:900_000].replace("\x00", ""))
    assert found(version).verdict == "fail", "what stands in the database already is judged, not trusted"


def test_the_bounds_leave_room_for_real_documents(version):
    document = vendor()
    document["components"] = [
        {"type": "file", "name": f"model-{n:05}-of-00400.safetensors", "purl": f"pkg:generic/file-{n}@1.0",
         "hashes": [{"alg": "SHA-256", "content": f"{n:064x}"}]} for n in range(ITEMS)
    ]  # fmt: skip
    document["metadata"]["component"]["modelCard"]["considerations"]["users"] = ["x" * 4000] * 1
    assert validate(json.dumps(document)) and DEPTH > 20


def test_evidence_by_the_service_keeps_it_for_workers(version, org):
    """The check reads content: it is no matter of the transaction that loads a version."""
    services.collect_evidence(org.principal(org.pat), version)
    assert not version.evidence.filter(kind="ml-bom").exists()


# --- Reading cards ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("", "# ", "#" * 9000, "|" * 9000, "- " * 9000, "\x00## A\r\n"),
        *("## Evaluation\n|a|b|\n|-|-|\n" + "|x|1|\n" * 5000, "## Evaluation\n|a|b|\n|---|\n|1|"),
        *("## Evaluation\n|a|b|\n|---|---|\n||\n|x|", "## Evaluation\n" + "| " * 3000 + "\n" + "|-" * 3000),
    ],
)
def test_any_text_is_a_card(text):
    started = time.monotonic()
    assert len(cards.evaluations(text)) <= cards.METRICS
    assert isinstance(cards.sections(text), dict) and len(cards.datasets(text)) <= 50
    assert time.monotonic() - started < 2
