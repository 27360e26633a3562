"""The life cycle of versions: arrows, roles, audit rows; loading and evidence through the services."""

import json
from decimal import Decimal

import pytest

from audit.models import Row
from catalog import services
from catalog.models import Asset, Evidence, HardwareProfile, Version, VersionState
from catalog.specs import AssetSpec, ProfileSpec, VersionSpec
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from tests.factories import DEMO_COMMAND, make_asset, make_version

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VERSION = {
    "version": "1.0",
    "source": f"hf://example/tiny@{COMMIT}",
    "licence": "MIT",
    "runtime": {"engine": "demo", "demo": True, "command": DEMO_COMMAND},
    "needs": {
        "parameters": 1000, "bytes_per_parameter": 2.0, "layers": 1, "kv_heads": 1, "head_dim": 8,
        "max_context_tokens": 512,
    },
    "facts": {"sources": {"card": ["an example"]}},
}  # fmt: skip
ASSET = {
    "slug": "tiny", "kind": "model", "name": "Tiny", "publisher": "Example", "summary": "For tests.", "tasks": ["chat"],
    "languages": ["en"], "homepage": "https://example.com/tiny",
    "description": "## Intended use\nTests.\n\n## Limitations\nMany.\n", "versions": [VERSION],
}  # fmt: skip
VERBS = {
    "submit": {"draft": "in_review", "blocked": "in_review"},
    "approve": {"in_review": "approved"},
    "reject": {"in_review": "draft"},
    "deprecate": {"approved": "deprecated"},
    "retire": {"deprecated": "retired"},
    "block": {state: "blocked" for state in VersionState.values if state != "blocked"},
}


def spec(**changes) -> AssetSpec:
    return AssetSpec.model_validate({**ASSET, **changes})


def version_spec(**changes) -> VersionSpec:
    return VersionSpec.model_validate({**VERSION, **changes})


def call(verb, by, version):
    reason = {"reason": "because of a test"} if verb in {"reject", "block"} else {}
    return getattr(services, verb)(by, version, **reason)


@pytest.fixture
def pat(org):
    return org.principal(org.pat)


@pytest.mark.parametrize("state", VersionState.values)
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_starts_only_from_its_states(pat, verb, state):
    version = make_version(state)
    rows = Row.objects.count()
    target = VERBS[verb].get(state)
    if target is None:
        with pytest.raises(Conflict):
            call(verb, pat, version)
        assert Version.objects.get().state == state and Row.objects.count() == rows
    else:
        assert call(verb, pat, version).state == target
        assert Version.objects.get().state == target
        row = Row.objects.get(action=f"catalog.{verb}", id__gt=_id_of(rows))
        assert json.loads(row.before) == {"state": state}
        assert json.loads(row.after)["state"] == target
        assert (row.object_kind, row.object_id, row.actor) == ("version", str(version.pk), pat.key)


def _id_of(count: int) -> int:
    return list(Row.objects.order_by("id").values_list("id", flat=True))[count - 1] if count else 0


@pytest.mark.parametrize("person", ["dana", "omar", "vic", "aud", "cy"])
@pytest.mark.parametrize("verb", VERBS)
def test_only_stewards_move_a_version(org, person, verb):
    version = make_version(next(iter(VERBS[verb])))
    state = version.state
    read = person == "aud" or version.approved_at is not None  # who does not read a draft learns nothing of it
    refusal, words = (Forbidden, "governance lead or platform engineer") if read else (NotFound, "no such version")
    with pytest.raises(refusal, match=words):
        call(verb, org.principal(getattr(org, person)), version)
    assert Version.objects.get().state == state


@pytest.mark.parametrize("person", ["pat", "yasmine"])
def test_stewards_move_a_version(org, person):
    by = org.principal(getattr(org, person))
    version = make_version(VersionState.DRAFT)
    assert services.approve(by, services.submit(by, version)).state == VersionState.APPROVED
    assert Version.objects.get().approved_at is not None


def test_a_stale_object_does_not_move_twice(pat):
    version = make_version(VersionState.IN_REVIEW)
    other = Version.objects.get()
    services.approve(pat, version)
    with pytest.raises(Conflict, match="is approved; only from in review can it become approved"):
        services.approve(pat, other)
    services.block(pat, other, "seen as it was before")  # the kill switch asks what it is now
    assert Version.objects.get().state == VersionState.BLOCKED
    assert Row.objects.filter(action="catalog.approve", object_id=str(version.pk)).count() == 1


def test_reasons_are_asked_for_and_bounded(pat):
    version = make_version(VersionState.APPROVED)
    for reason in ("", "  ", "no", "x" * 301, "a\x00bc"):
        with pytest.raises(Invalid) as caught:
            services.block(pat, version, reason)
        assert list(caught.value.fields) == ["reason"]
    services.block(pat, version, "A CVE in its loader.")
    assert Version.objects.get().state_reason == "A CVE in its loader."
    assert Row.objects.get(action="catalog.block").reason == "A CVE in its loader."
    services.submit(pat, version)
    assert Version.objects.get().state_reason == "", "an old reason does not outlive its state"


def test_a_successor_is_another_approved_version_of_the_same_kind(pat):
    old, new = make_version(), make_version(version="2.0")
    wrong = [old, make_version(VersionState.DRAFT), make_version(asset=make_asset(kind="mcp-server"))]
    for successor in wrong:
        with pytest.raises(Invalid, match="successor"):
            services.deprecate(pat, old, successor)
    services.deprecate(pat, old, new, "Better answers.")
    assert Version.objects.get(pk=old.pk).successor == new


def test_load_creates_a_draft_with_its_digest_and_evidence(pat):
    asset, (version,) = services.load_asset(pat, spec())
    assert (version.state, version.proposed_by, version.digest[:7]) == (VersionState.DRAFT, pat.user, "sha256:")
    assert version.needs["kv_bytes"] == 2, "defaults are written into the row"
    assert {item.kind: item.verdict for item in version.latest_evidence()} == {
        "licence": "pass", "card": "pass", "pin": "pass",
    }  # fmt: skip
    actions = list(Row.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["catalog.create_asset", "catalog.create_version", "catalog.collect_evidence"]
    assert asset.proposed_by == pat.user


def test_load_again_returns_nothing_new(pat):
    services.load_asset(pat, spec())
    rows = Row.objects.count()
    assert services.load_asset(pat, spec())[1] == []
    assert (Row.objects.count(), Evidence.objects.count()) == (rows, 3)


def test_load_refuses_another_kind_and_other_content(pat):
    services.load_asset(pat, spec())
    with pytest.raises(Invalid, match="cannot become a mcp-server"):
        services.load_asset(pat, spec(kind="mcp-server", versions=[]))
    with pytest.raises(Invalid, match="versions never change"):
        services.load_asset(pat, spec(name="Renamed", versions=[{**VERSION, "licence": "Apache-2.0"}]))
    assert Asset.objects.get().name == "Tiny", "nothing of a refused load stays"


def test_a_changed_description_is_recorded_and_judged_again(pat):
    services.load_asset(pat, spec())
    services.load_asset(pat, spec(description="No sections at all."))
    row = Row.objects.get(action="catalog.change_asset")
    assert json.loads(row.after) == {"description": "No sections at all."}
    card = next(item for item in Version.objects.get().latest_evidence() if item.kind == "card")
    assert card.verdict == "fail" and "Intended use" in card.summary
    assert Evidence.objects.filter(kind="card").count() == 2, "the earlier finding stays"


def test_create_refuses_what_is_there(pat):
    asset = services.create_asset(pat, spec())
    with pytest.raises(Conflict, match="exists already"):
        services.create_asset(pat, spec())
    with pytest.raises(Conflict, match="versions never change"):
        services.add_version(pat, asset, version_spec())
    assert services.add_version(pat, asset, version_spec(version="1.1")).state == VersionState.DRAFT


def test_an_mcp_server_needs_an_address(pat):
    server = services.create_asset(pat, spec(kind="mcp-server", versions=[]))
    with pytest.raises(Invalid, match=r"facts\.remotes or facts\.packages"):
        services.add_version(pat, server, version_spec(runtime=None, needs=None))


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ("Apache-2.0", "pass"),
        ("MIT OR CC-BY-NC-4.0", "pass"),
        ("MIT AND CC-BY-NC-4.0", "fail"),
        ("LicenseRef-Llama-3.1-Community", "warn"),
        ("NOASSERTION", "warn"),
        ("GPL-3.0-only", "warn"),
        ("Made-Up-1.0", "fail"),
        ("(MIT)", "pass"),
        ("apache-2.0 or mit", "pass"),
        ("MIT OR", "fail"),
        ("MIT WITH something", "fail"),
    ],
)
def test_licence_verdicts(pat, licence, verdict):
    _, (version,) = services.load_asset(pat, spec(versions=[{**VERSION, "licence": licence}]))
    found = Evidence.objects.get(version=version, kind="licence")
    assert found.verdict == verdict and found.report["expression"] == licence


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (f"hf://example/tiny@{COMMIT}", "pass"),
        (f"oci://example.com/tiny@sha256:{'a' * 64}", "pass"),
        ("builtin://demo-engine", "pass"),
        ("hf://example/tiny@main", "warn"),
        ("hf://example/tiny", "warn"),
        (f"hf://example/tiny@{COMMIT[:39]}", "warn"),
    ],
)
def test_pin_verdicts(pat, source, verdict):
    _, (version,) = services.load_asset(pat, spec(versions=[{**VERSION, "source": source}]))
    assert Evidence.objects.get(version=version, kind="pin").verdict == verdict


@pytest.mark.parametrize("source", [f"hf://example/tiny@{COMMIT}", "hf://example/tiny@main"])
def test_content_that_nobody_read_does_not_get_in(pat, source):
    runtime = {"engine": "vllm", "command": ["vllm", "serve", "{model}"]}
    _, (version,) = services.load_asset(pat, spec(versions=[{**VERSION, "source": source, "runtime": runtime}]))
    services.submit(pat, version)
    with pytest.raises(Conflict, match="The content of the source was not read yet") as refused:
        services.approve(pat, version)
    assert refused.value.code == "evidence" and version.state == VersionState.IN_REVIEW


@pytest.mark.parametrize("change", [{"demo": True}, {"source": "builtin://demo"}])
def test_only_the_demo_engine_loads_nothing(pat, change):
    """Whoever proposes cannot spare a model its checks by a flag."""
    runtime = {"engine": "vllm", "command": ["vllm", "serve", "{model}"], "demo": change.get("demo", False)}
    proposed = {**VERSION, "runtime": runtime, "source": change.get("source", VERSION["source"])}
    with pytest.raises(Invalid, match="nothing is loaded"):
        services.create_asset(pat, spec(versions=[proposed]))
    asset = make_asset("other")
    with pytest.raises(Invalid, match="nothing is loaded"):
        services.add_version(pat, asset, VersionSpec.model_validate(proposed))
    assert not Version.objects.exists()


def test_unverified_facts_warn(pat):
    facts = {"sources": {"card": ["x"]}, "unverified": ["sliding_window"]}
    _, (version,) = services.load_asset(pat, spec(versions=[{**VERSION, "facts": facts}]))
    found = Evidence.objects.get(version=version, kind="card")
    assert found.verdict == "warn" and "sliding_window" in found.summary


def test_collecting_again_keeps_only_what_differs(pat):
    _, (version,) = services.load_asset(pat, spec())
    assert services.collect_evidence(pat, version) == []
    Evidence.objects.filter(kind="pin").delete()
    assert [item.kind for item in services.collect_evidence(pat, version)] == ["pin"]


def test_profiles_belong_to_platform_engineers(org, pat, settings):
    wanted = ProfileSpec(slug="cpu", name="CPU", memory_bytes=2**30, price_per_hour=Decimal("0.02"))
    with pytest.raises(Forbidden):
        services.save_profile(org.principal(org.yasmine), wanted)
    profile = services.save_profile(pat, wanted)
    assert profile.currency == settings.CURRENCY
    changed = services.save_profile(pat, wanted.model_copy(update={"name": "Small"}))
    assert changed.pk == profile.pk and HardwareProfile.objects.get().name == "Small"
    row = Row.objects.get(action="catalog.change_profile")
    assert (json.loads(row.before), json.loads(row.after)) == ({"name": "CPU"}, {"name": "Small"})
    services.save_profile(pat, wanted.model_copy(update={"name": "Small"}))
    assert Row.objects.filter(action__startswith="catalog.").count() == 2
