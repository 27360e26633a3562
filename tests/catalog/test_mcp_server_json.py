"""server.json: what is one, what a version makes of itself, what becomes a proposal."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog import services
from catalog.mcp import schema, server_json
from catalog.models import Version
from catalog.specs import AssetSpec
from portal.errors import Invalid
from tests.factories import CARD, lead

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "catalog" / "mcp-servers").glob("*.yaml"))
DOCUMENT = {
    "$schema": schema.SCHEMA,
    "name": "com.example/ledger-query",
    "title": "Ledger query",
    "description": "Read-only questions to the payment ledger.",
    "version": "1.4.0",
    "websiteUrl": "https://example.com/ledger",
    "repository": {"url": "https://github.com/example/ledger", "source": "github", "id": "42"},
    "remotes": [
        {
            "type": "streamable-http",
            "url": "https://ledger.example.com/mcp",
            "headers": [{"name": "X-Key", "isRequired": True, "isSecret": True, "description": "Ask the ledger desk."}],
        }
    ],
    "packages": [
        {
            "registryType": "npm",
            "identifier": "@example/ledger",
            "version": "1.4.0",
            "transport": {"type": "stdio"},
            "packageArguments": [{"type": "positional", "valueHint": "account"}, {"type": "named", "name": "--read"}],
            "environmentVariables": [{"name": "LEDGER_KEY", "isSecret": True}],
        },
        {
            "registryType": "mcpb",
            "identifier": "https://example.com/ledger.mcpb",
            "fileSha256": "a" * 64,
            "transport": {"type": "stdio"},
        },
    ],
    "_meta": {"io.modelcontextprotocol.registry/publisher-provided": {"tool": "ci"}},
}


def test_a_whole_document_passes():
    schema.check(DOCUMENT)


def _without(name):
    return {key: value for key, value in DOCUMENT.items() if key != name}


BAD = [
    ("document", [DOCUMENT]),
    ("name", _without("name")),
    ("name", DOCUMENT | {"name": "ledger"}),
    ("name", DOCUMENT | {"name": "com.example/ledger\n"}),
    ("name", DOCUMENT | {"name": "a/b/c"}),
    ("description", DOCUMENT | {"description": "x" * 101}),
    ("description", DOCUMENT | {"description": ""}),
    ("version", DOCUMENT | {"version": "latest"}),
    ("version", DOCUMENT | {"version": "^1.2"}),
    ("title", DOCUMENT | {"title": 5}),
    ("websiteUrl", DOCUMENT | {"websiteUrl": "javascript:alert(1)"}),
    ("repository.source", DOCUMENT | {"repository": {"url": "https://example.com"}}),
    ("remotes[0].type", DOCUMENT | {"remotes": [{"type": "stdio", "url": "https://example.com"}]}),
    ("remotes[0].url", DOCUMENT | {"remotes": [{"type": "sse"}]}),
    ("remotes[0].url", DOCUMENT | {"remotes": [{"type": "sse", "url": "file:///etc/passwd"}]}),
    ("packages[0].transport", DOCUMENT | {"packages": [{"registryType": "npm", "identifier": "x"}]}),
    ("packages[0].registryType", DOCUMENT | {"packages": [
        {"registryType": "cargo", "identifier": "x", "transport": {"type": "stdio"}}]}),
    ("packages[0].fileSha256", DOCUMENT | {"packages": [
        {"registryType": "mcpb", "identifier": "x", "transport": {"type": "stdio"}}]}),
    ("packages[0].version", DOCUMENT | {"packages": [
        {"registryType": "npm", "identifier": "x", "version": ">=1", "transport": {"type": "stdio"}}]}),
    ("remotes", {key: DOCUMENT[key] for key in ("name", "description", "version")}),
    ("$schema", DOCUMENT | {"$schema": "https://example.com/schema.json"}),
    ("title", DOCUMENT | {"title": "a\0b"}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "document"), BAD)
def test_a_bad_document_names_the_field_and_the_fix(field, document):
    with pytest.raises(Invalid) as refused:
        schema.check(document)
    assert field in refused.value.fields
    assert refused.value.fields[field].startswith(field) and refused.value.fields[field].endswith(".")


def test_deep_and_large_documents_are_refused_in_time():
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    for document in (DOCUMENT | {"_meta": {"x": deep}}, DOCUMENT | {"_meta": {"x": ["y" * 1000] * 100}}):
        with pytest.raises(Invalid):
            schema.check(document)


@pytest.mark.django_db
def test_a_document_becomes_an_asset_and_comes_back_whole(org):
    spec = server_json.asset_spec(DOCUMENT, licence="Apache-2.0", description=CARD, tasks=["ledger"])
    assert (spec.slug, spec.name, spec.publisher) == ("ledger-query", "Ledger query", "example.com")
    assert spec.homepage == "https://example.com/ledger"
    asset = services.create_asset(lead(), spec)
    version = Version.objects.get(asset=asset)
    assert version.facts["auth"]["header"] == "X-Key" and version.facts["auth"]["required"] is True
    made = server_json.document(version)
    schema.check(made)
    assert made == DOCUMENT


def test_a_proposal_that_does_not_fit_the_catalog_names_the_field():
    with pytest.raises(Invalid) as refused:
        server_json.asset_spec(DOCUMENT | {"version": "1" * 60}, licence="MIT")
    assert "version" in refused.value.fields
    with pytest.raises(Invalid) as refused:
        server_json.asset_spec(DOCUMENT, licence="MIT", slug="No Slug")
    assert "slug" in refused.value.fields


def test_a_bad_document_in_the_facts_of_a_version_is_refused():
    spec = server_json.asset_spec(DOCUMENT, licence="MIT").model_dump(mode="json", exclude_none=True)
    spec["versions"][0]["facts"]["document"]["name"] = "nonsense"
    with pytest.raises(ValueError, match="reverse host name"):
        AssetSpec.model_validate(spec)


@pytest.mark.django_db
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_makes_a_valid_document(org, path):
    asset = services.create_asset(lead(), AssetSpec.model_validate(yaml.safe_load(path.read_text())))
    for version in asset.versions.all():
        made = server_json.document(version)
        schema.check(made)
        assert made["version"] == version.version and json.dumps(made)
