"""Backstage and Open Data Hub: what is written, what is read back, who sees what, and files of people who mean harm."""

import io
import json

import pytest
import yaml
from django.core.management import CommandError, call_command

from audit.models import Row
from catalog import loader, services
from catalog.audience import list_only
from catalog.interchange import exporting, odh
from catalog.models import CARD_FIELDS, Asset, Version, VersionState
from catalog.specs import AssetSpec
from portal.errors import Invalid
from tests.catalog.test_services import ASSET
from tests.factories import make_asset, make_version

pytestmark = pytest.mark.slow

FACTS = {
    "remotes": [{"type": "streamable-http", "url": "https://mcp.example.com/mcp"}],
    "tools": [{"name": "list_things"}],
    "sources": {"read": ["server.json"]},
}
FOREIGN = """\
source: Red Hat
models:
  - name: rhelai1/Granite-8b_Code Base
    provider: IBM
    description: |-
      A decoder-only code model.
      Two lines.
    readme: "# Granite\\n\\n<script>alert(1)</script>"
    language: ["en", "de"]
    license: apache-2.0
    licenseLink: https://www.apache.org/licenses/LICENSE-2.0.txt
    maturity: Generally Available
    tasks: [text-generation, Tool Calling]
    createTimeSinceEpoch: "1733514949000"
    customProperties:
      model_type: {metadataType: MetadataStringValue, string_value: generative}
    artifacts:
      - uri: oci://registry.example.com/rhelai1/granite-8b-code-base:1.3
"""


def text(form, principal, slug=""):
    return "".join(exporting.export(principal, form, slug))


def entities(principal):
    return {item["metadata"]["name"]: item for item in yaml.safe_load_all(text("backstage", principal))}


@pytest.fixture
def catalog(org):
    make_version(asset=make_asset("granite", name="Granite", summary="A model: with # signs."))
    make_version(VersionState.DEPRECATED, asset=make_asset("old"))
    for state in (VersionState.DRAFT, VersionState.BLOCKED, VersionState.RETIRED):
        make_version(state, asset=make_asset(state.value))
    hidden = make_version(asset=make_asset("hidden"))
    list_only(org.principal(org.pat), hidden.asset, "A few teams.")
    services.load_asset(
        org.principal(org.pat),
        AssetSpec.model_validate(
            {**ASSET, "slug": "server", "kind": "mcp-server", "versions": [
                {"version": "1.0", "source": "mcp://x/y@1", "licence": "MIT", "facts": FACTS}]}
        ),
    )  # fmt: skip
    Version.objects.filter(asset__slug="server").update(state="approved", approved_at="2026-01-01T00:00:00Z")
    return org


def test_backstage_entities(catalog):
    found = entities(catalog.principal(catalog.dana))
    assert set(found) == {"granite", "old", "server"}, "only what may be asked for, and what the person sees"
    granite, server = found["granite"], found["server"]
    assert (granite["apiVersion"], granite["kind"]) == ("backstage.io/v1alpha1", "Component")
    assert granite["spec"] == {
        "type": "ai-model",
        "lifecycle": "production",
        "owner": "group:default/platform-engineers",
    }
    assert granite["metadata"]["description"] == "A model: with # signs."
    assert granite["metadata"]["annotations"]["gatehouse/version"] == "1.0"
    assert granite["metadata"]["links"][0]["url"].endswith("/catalog/granite/")
    assert found["old"]["spec"]["lifecycle"] == "deprecated"
    assert (server["kind"], server["spec"]["type"]) == ("API", "mcp-server")
    definition = json.loads(server["spec"]["definition"])
    assert definition["remotes"][0]["url"] == "https://mcp.example.com/mcp" and definition["tools"] == ["list_things"]


def test_each_reader_gets_what_they_see(catalog, api_for):
    assert "hidden" in entities(catalog.principal(catalog.pat))
    answer = api_for(catalog.dana, "catalog:read").get("/catalog/export", {"format": "backstage"})
    body = b"".join(answer.streaming_content).decode()
    assert answer.status_code == 200 and answer["Content-Type"].startswith("application/yaml")
    assert "name: granite" in body and "hidden" not in body and "blocked" not in body
    one = api_for(catalog.dana, "catalog:read").get("/catalog/export", {"format": "backstage", "asset": "granite"})
    (only,) = yaml.safe_load_all(b"".join(one.streaming_content))
    assert only["metadata"]["name"] == "granite"


@pytest.mark.parametrize(
    ("query", "status"),
    [({"format": "xml"}, 422), ({"asset": "hidden"}, 404), ({"asset": "no-such"}, 404), ({"asset": "x" * 3000}, 404),
     ({"asset": "\0"}, 422), ({"format": ""}, 422)],
)  # fmt: skip
def test_bad_questions(catalog, api_for, query, status):
    assert api_for(catalog.dana, "catalog:read").get("/catalog/export", query).status_code == status


def test_without_the_scope_nothing_is_exported(catalog, api_for):
    assert api_for(catalog.dana, "usage:read").get("/catalog/export").status_code == 403


def test_odh_comes_back_as_the_same_catalog(org, tmp_path):
    """Written, read into an empty catalog, and the digest of the specification is the same."""
    pat = org.principal(org.pat)
    asset, (version,) = services.load_asset(pat, AssetSpec.model_validate(ASSET))
    Version.objects.filter(pk=version.pk).update(state="approved", approved_at=version.created_at)
    before = {name: getattr(asset, name) for name in CARD_FIELDS}
    path = tmp_path / "source.yaml"
    path.write_text(text("odh", pat))
    model = yaml.safe_load(path.read_text())["models"][0]
    assert model["provider"] == asset.publisher and model["license"] == "mit"
    assert model["artifacts"][0]["uri"] == version.source and model["createTimeSinceEpoch"].isdigit()
    Asset.objects.all().delete()
    specs, said = odh.read(path)
    assert said == []
    loader.apply(pat, loader.Documents(assets=specs))
    again = Version.objects.get()
    assert (again.digest, again.source, again.state) == (version.digest, version.source, VersionState.DRAFT)
    assert {name: getattr(again.asset, name) for name in CARD_FIELDS} == before | {"name": again.asset.name}


def test_a_source_of_somebody_else_becomes_assets_to_complete(org, tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(FOREIGN)
    (spec,), (said,) = odh.read(path)
    assert spec.slug == "granite-8b-code-base" and spec.publisher == "IBM" and spec.versions == []
    assert spec.summary == "A decoder-only code model. Two lines." and spec.tasks == ["text-generation", "tool-calling"]
    assert "catalog.yaml, model 1, granite-8b-code-base" in said and "Apache-2.0" in said
    out = io.StringIO()
    call_command("catalog", "import-odh", str(path), "--dry-run", stdout=out)
    assert "create asset granite-8b-code-base" in out.getvalue() and not Asset.objects.exists()
    call_command("catalog", "import-odh", str(path), "--as", "pat", stdout=out)
    assert Asset.objects.get().publisher == "IBM" and Row.objects.filter(action="catalog.create_asset").count() == 1
    again = io.StringIO()
    call_command("catalog", "import-odh", str(path), "--as", "pat", stdout=again)
    assert "0 changes, 1 unchanged." in again.getvalue()
    path.write_text(FOREIGN.replace("provider: IBM", "provider: IBM Research"))
    call_command("catalog", "import-odh", str(path), "--dry-run", stdout=again)
    assert "'IBM' → 'IBM Research'" in again.getvalue() and Asset.objects.get().publisher == "IBM"


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ("models: 3", "no list"),
        ("[1, 2]", "no list"),
        ("models: [3]", "no name"),
        ("models: [{name: ''}]", "no name"),
        ("models: [{name: '///'}]", "slug"),
        ("models: [{name: a/b}, {name: c/b}]", "twice"),
        ("models: [{name: a, customProperties: {gatehouse_slug: {string_value: '../etc'}}}]", "slug"),
        ("models: [{name: a, artifacts: [{customProperties: {gatehouse_version: {string_value: '{}'}}}]}]", "version"),
        ("models: [{name: a, artifacts: [{customProperties: {gatehouse_version: {string_value: '[['}}}]}]", "JSON"),
        ("models: &a [*a]", "aliases"),
        ("models: [!!python/object/apply:os.system [id]]", "YAML"),
        ("models: [" + "[" * 50 + "]" * 50 + "]", "levels"),
        ("models: [{name: a", "line"),
    ],
)
def test_a_wrong_source_is_refused_with_a_reason(org, tmp_path, document, word):
    path = tmp_path / "catalog.yaml"
    path.write_text(document)
    with pytest.raises(Invalid) as caught:
        odh.read(path)
    assert word in " ".join(caught.value.fields.values()), caught.value.fields
    with pytest.raises(CommandError):
        call_command("catalog", "import-odh", str(path), "--as", "pat", stdout=io.StringIO())
    assert not Asset.objects.exists()


def test_what_surprises_is_read_as_nothing(org, tmp_path):
    """Fields of the wrong type, control characters and long texts never stop the rest."""
    path = tmp_path / "catalog.yaml"
    odd = {"name": "a\x07b/" + "c" * 90, "provider": 7, "language": "en", "tasks": [None, "  ", "Ä B"]}
    odd |= {"readme": "x" * 30_000, "artifacts": "none", "customProperties": []}
    path.write_text(yaml.safe_dump({"models": [odd]}))
    (spec,), _ = odh.read(path)
    assert len(spec.slug) <= 40 and spec.publisher == "" and spec.tasks == ["b"] and len(spec.description) == 20_000


def test_files_that_are_none(org, tmp_path):
    (tmp_path / "big.yaml").write_text("a" * (odh.BYTES + 1))
    (tmp_path / "link.yaml").symlink_to("/etc/hostname")
    for name in ("big.yaml", "link.yaml", "missing.yaml", "."):
        with pytest.raises(CommandError):
            call_command("catalog", "import-odh", str(tmp_path / name), "--as", "pat", stdout=io.StringIO())


def test_the_command_exports(catalog, tmp_path):
    out = io.StringIO()
    call_command("catalog", "export", "--format", "backstage", stdout=out)
    assert {item["metadata"]["name"] for item in yaml.safe_load_all(out.getvalue())} == {"granite", "old", "server"}
    call_command("catalog", "export", "--format", "odh", "--as", "pat", "--to", str(tmp_path / "o.yaml"))
    models = yaml.safe_load((tmp_path / "o.yaml").read_text())["models"]
    assert {item["customProperties"]["gatehouse_slug"]["string_value"] for item in models} == {
        "granite",
        "old",
        "hidden",
    }
    bom = io.StringIO()
    call_command("catalog", "export", "--format", "cyclonedx", "--asset", "granite", stdout=bom)
    assert json.loads(bom.getvalue())["bomFormat"] == "CycloneDX"
    for wrong in (["--as", "nobody"], ["--to", "/no/such/folder/x"]):
        with pytest.raises(CommandError):
            call_command("catalog", "export", "--format", "odh", *wrong, stdout=io.StringIO())
    with pytest.raises(CommandError, match="asset"):
        call_command("catalog", "export", "--format", "cyclonedx", "--asset", "draft", stdout=io.StringIO())


def test_an_empty_catalog_is_a_valid_file(org):
    assert yaml.safe_load(text("odh", org.principal(org.dana))) == {"source": "Gatehouse", "models": []}
    assert list(yaml.safe_load_all(text("backstage", org.principal(org.dana)))) == []
