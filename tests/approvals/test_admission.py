"""Admission: proposed, its evidence judged, reviewed by somebody else, and in the catalog, blocked again, or back."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from approvals import admission, services
from approvals.models import Decision, Request, RequestState
from audit.models import Row
from catalog import collecting, proposing
from catalog import services as catalog
from catalog.models import Asset, Evidence, Verdict, Version, VersionState
from catalog.specs import AssetSpec, VersionSpec
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.models import Notification, User
from projects.permissions import can, visible
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import CARD, DEMO_COMMAND, NEEDS, make_asset, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.slow]  # as a whole: the quick suite has a minute

VERSION: dict[str, Any] = {
    "version": "1.0", "source": "builtin://demo", "licence": "Apache-2.0", "needs": NEEDS,
    "runtime": {"engine": "demo", "command": DEMO_COMMAND, "demo": True}, "facts": {"sources": {"card": ["here"]}},
}  # fmt: skip
ASSET: dict[str, Any] = {
    "slug": "tiny", "kind": "model", "name": "Tiny", "publisher": "Us", "summary": "Small.", "description": CARD,
    "tasks": ["chat"], "languages": ["en"], "homepage": "https://example.com/", "versions": [VERSION],
}  # fmt: skip


def propose(user: User, **fields: Any) -> Version:
    asset = catalog.create_asset(Principal.of(user), AssetSpec.model_validate({**ASSET, **fields}))
    return asset.versions.get()


def state(version: Version) -> str:
    return Version.objects.values_list("state", flat=True).get(pk=version.pk)


def fail(version: Version, kind: str = "card") -> None:
    """Let a check that passed fail, as a later look would."""
    Evidence.objects.filter(version=version, kind=kind).update(verdict=Verdict.FAIL, summary="It is broken now.")


# --- Proposing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["dana", "omar", "cy", "pat", "yasmine"])
def test_whoever_may_ask_somewhere_may_propose_and_sees_what_they_proposed(org: Org, person: str) -> None:
    user = getattr(org, person)
    version = propose(user)
    by = Principal.of(user)
    assert (version.state, version.proposed_by) == (VersionState.DRAFT, user) and can(by, "view", version)
    assert {item.kind for item in version.evidence.all()} >= {"card", "licence", "pin"}
    for stranger in {org.dana, org.cy} - {user}:
        assert not can(Principal.of(stranger), "view", version)


@pytest.mark.parametrize("person", ["vic", "aud"])
def test_viewers_and_auditors_propose_nothing(org: Org, person: str) -> None:
    make_version(asset=make_asset("known"))
    with pytest.raises(Forbidden, match="developer or owner in a project"):
        propose(getattr(org, person))
    spec, known = VersionSpec.model_validate({**VERSION, "version": "2.0"}), Asset.objects.get(slug="known")
    with pytest.raises(Forbidden):
        catalog.add_version(Principal.of(getattr(org, person)), known, spec)
    assert not Asset.objects.filter(slug="tiny").exists()


def test_a_credential_of_a_project_proposes_nothing(org: Org) -> None:
    by = Principal.of(org.dana, via="token", project_id=org.fraud.pk)
    with pytest.raises(Forbidden):
        catalog.create_asset(by, AssetSpec.model_validate(ASSET))


def test_a_proposer_adds_versions_to_assets_that_they_see_and_changes_nothing_else(org: Org) -> None:
    known = make_version(asset=make_asset("known")).asset
    by, spec = Principal.of(org.dana), VersionSpec.model_validate({**VERSION, "version": "2.0"})
    added = catalog.add_version(by, known, spec)
    assert added.state == VersionState.DRAFT and known.proposed_by is None
    hidden = make_version(VersionState.DRAFT, asset=make_asset("hidden")).asset
    with pytest.raises(NotFound):
        catalog.add_version(by, hidden, spec)
    for verb in ("approve", "deprecate", "retire"):
        with pytest.raises(Forbidden):
            getattr(catalog, verb)(by, added)
    for verb in ("block", "reject"):
        with pytest.raises(Forbidden):
            getattr(catalog, verb)(by, added, "because")
    with pytest.raises(Forbidden):  # a document that also opens it is not half done
        catalog.create_asset(by, AssetSpec.model_validate({**ASSET, "slug": "given", "projects": ["fraud-detection"]}))
    assert not Asset.objects.filter(slug="given").exists()


def test_nobody_takes_names_in_stock(org: Org) -> None:
    for number in range(proposing.MOST_OPEN):
        propose(org.dana, slug=f"mine-{number}")
    with pytest.raises(Conflict, match="20 proposals") as caught:
        propose(org.dana, slug="one-more")
    assert caught.value.code == "too_many_proposals"
    propose(org.cy, slug="another-person")
    proposing.discard(Principal.of(org.dana), Version.objects.get(asset__slug="mine-3"))
    assert not Asset.objects.filter(slug="mine-3").exists()
    propose(org.dana, slug="one-more")
    for number in range(proposing.MOST_OPEN + 1):
        propose(org.pat, slug=f"stewards-{number}")


def test_a_form_that_was_begun_keeps_no_draft_and_an_old_review_does(org: Org) -> None:
    version = propose(org.dana)
    body = {"kind": "admission", "asset": "tiny", "version": "1.0"}
    begun = services.draft(Principal.of(org.dana), body)
    proposing.discard(Principal.of(org.pat), version)
    begun.refresh_from_db()
    assert begun.version is None and begun.body["asset"] == "tiny"
    assert not Asset.objects.filter(slug="tiny").exists(), "nothing is left, and its name is free again"
    again = propose(org.dana)
    services.withdraw(Principal.of(org.dana), admission.submit(Principal.of(org.dana), again))
    Version.objects.filter(pk=again.pk).update(changed_at=None)  # as a release left it that kept no time of it
    admission.discard(Principal.of(org.dana), again)
    assert state(again) == "retired" and Request.objects.filter(version=again, state="withdrawn").exists()


def test_what_was_sent_once_is_set_aside_and_stays_readable(org: Org, client_for: Any) -> None:
    version = propose(org.dana)
    made = services.withdraw(Principal.of(org.dana), admission.submit(Principal.of(org.dana), version))
    assert proposing.open_proposals(org.dana) == 1
    with pytest.raises(NotFound):
        admission.discard(Principal.of(org.cy), version)
    client = client_for(org.dana)
    assert "stays with its evidence" in client.get("/catalog/tiny/versions/1.0/discard/").content.decode()
    assert client.post("/catalog/tiny/versions/1.0/discard/").status_code == 302
    assert state(version) == "retired" and proposing.open_proposals(org.dana) == 0
    assert client.get(f"/requests/{made.pk}/").status_code == 200 and version.evidence.exists()
    row = Row.objects.get(action="catalog.discard")
    assert json.loads(row.before)["state"] == "draft" and json.loads(row.after)["state"] == "retired"
    assert "Discarded" in client.get("/catalog/tiny/?tab=history").content.decode()
    assert client_for(org.omar).get("/catalog/tiny/").status_code == 404, "nobody let it in, so nobody else reads it"
    with pytest.raises(Conflict):
        admission.discard(Principal.of(org.dana), version)
    with pytest.raises(Conflict):
        catalog.submit(Principal.of(org.pat), version)


def test_what_came_back_is_discarded_when_nothing_is_open_about_it(org: Org) -> None:
    version, dana = propose(org.dana), Principal.of(org.dana)
    made = admission.submit(dana, version)
    with pytest.raises(Conflict):  # it is in review
        admission.discard(dana, version)
    services.request_changes(Principal.of(org.pat), made, reason="Say more.")
    version.refresh_from_db()
    with pytest.raises(Conflict, match=f"{made} asks for tiny 1.0") as caught:
        admission.discard(dana, version)
    assert caught.value.code == "request_open"
    services.withdraw(dana, made)
    version.refresh_from_db()
    admission.discard(dana, version)
    version.refresh_from_db()
    assert (version.state, "Say more." in version.state_reason) == ("retired", True)


def test_what_was_let_in_once_is_not_discarded(org: Org) -> None:
    version = propose(org.dana)
    services.approve(Principal.of(org.pat), admission.submit(Principal.of(org.dana), version))
    for person in (org.dana, org.pat):
        with pytest.raises((Conflict, Forbidden)):
            admission.discard(Principal.of(person), Version.objects.get(pk=version.pk))
    assert state(version) == "approved"


# --- Sending ----------------------------------------------------------------------------------------------------------


def test_the_way_into_the_catalog(org: Org) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version, "The fraud desk needs it.")
    assert (made.kind, made.project, made.state, state(version)) == ("admission", None, "submitted", "in_review")
    plan = made.plan
    assert plan["specification"] == version.digest and plan["source"] == "builtin://demo"
    assert {item["kind"]: item["digest"] for item in plan["evidence"]} == {
        item.kind: item.digest for item in version.latest_evidence()
    }, "a decision binds the evidence"
    assert admission.submit(Principal.of(org.dana), version) == made, "a second call finds the first"
    told = Notification.objects.filter(kind="request.submitted").values_list("person__username", flat=True)
    assert set(told) == {"pat", "ravi", "yasmine"}
    decided = services.approve(Principal.of(org.pat), made)
    assert (decided.state, state(version)) == ("approved", "approved")
    assert Notification.objects.filter(kind="request.approved", person=org.dana).exists()
    assert list(Row.objects.filter(action__in=["catalog.submit", "catalog.approve"]).values_list("action", flat=True))


def test_nobody_lets_in_what_they_proposed_whoever_sent_it(org: Org) -> None:
    version = propose(org.pat)
    made = admission.submit(Principal.of(org.ravi), version)
    with pytest.raises(Forbidden, match="own proposal"):
        services.approve(Principal.of(org.pat), made)
    assert state(version) == "in_review"
    services.approve(Principal.of(org.yasmine), made)
    assert state(version) == "approved"


def test_a_review_lifts_no_block_of_a_proposal(org: Org) -> None:
    version, dana = propose(org.dana), Principal.of(org.dana)
    catalog.block(Principal.of(org.pat), version, "It calls home.")
    services.withdraw(dana, admission.submit(dana, version))
    version.refresh_from_db()
    assert (version.state, version.state_reason) == ("blocked", "It calls home.")
    services.reject(Principal.of(org.ravi), admission.submit(dana, version), reason="It still does.")
    version.refresh_from_db()
    assert (version.state, version.state_reason) == ("blocked", "It still does.")
    services.approve(Principal.of(org.ravi), admission.submit(dana, version))
    assert state(version) == "approved"


def test_own_requests_are_seen_by_their_requester_and_the_platform(org: Org) -> None:
    made = admission.submit(Principal.of(org.dana), propose(org.dana))
    seen = {
        name
        for name in ("dana", "omar", "vic", "cy", "pat", "yasmine", "aud")
        if visible(Principal.of(getattr(org, name)), Request.objects.all()).filter(pk=made.pk).exists()
    }
    assert seen == {"dana", "pat", "yasmine", "aud"}
    for name in ("dana", "omar", "pat"):
        assert can(Principal.of(getattr(org, name)), "view", made) == (name in seen)
    bound = Principal.of(org.dana, via="token", project_id=org.fraud.pk)
    assert not can(bound, "view", made) and not visible(bound, Request.objects.all()).exists()
    services.comment(Principal.of(org.dana), made, "Any news?")


def test_nobody_approves_an_own_version(org: Org) -> None:
    made = admission.submit(Principal.of(org.pat), propose(org.pat))
    with pytest.raises(Forbidden, match="own request"):
        services.approve(Principal.of(org.pat), made)
    services.approve(Principal.of(org.ravi), made)


def test_nothing_is_sent_before_every_check_has_come_to_a_verdict(org: Org) -> None:
    runtime = {"engine": "vllm", "command": ["vllm", "serve", "{model}"]}
    version = propose(org.dana, versions=[{**VERSION, "source": "hf://org/model@main", "runtime": runtime}])
    assert collecting.moving(collecting.progress(version))
    with pytest.raises(Invalid) as caught:
        admission.submit(Principal.of(org.dana), version)
    assert caught.value.code == "checks_failed" and "Wait" in str(caught.value.fields["evidence.files"]).title()
    assert "not read yet" in caught.value.fields["evidence.pin"]
    assert state(version) == "draft" and not Request.objects.exists()


def test_what_failed_is_not_sent(org: Org) -> None:
    version = propose(org.dana, description="No sections.")
    with pytest.raises(Invalid, match="Intended use"):
        admission.submit(Principal.of(org.dana), version)
    assert state(version) == "draft" and not Request.objects.exists()


def test_others_cannot_send_a_draft_and_a_steward_can(org: Org) -> None:
    version = propose(org.dana)
    with pytest.raises(NotFound):
        admission.submit(Principal.of(org.omar), version)
    made = admission.submit(Principal.of(org.yasmine), version)
    with pytest.raises(Conflict, match="already"):
        admission.submit(Principal.of(org.dana), version)
    services.approve(Principal.of(org.pat), made)


# --- Deciding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["reject", "request_changes"])
def test_a_no_gives_the_version_back(org: Org, verb: str) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    getattr(services, verb)(Principal.of(org.pat), made, reason="The card says nothing about limits.")
    version.refresh_from_db()
    assert (version.state, version.state_reason) == ("draft", "The card says nothing about limits.")
    again = admission.submit(Principal.of(org.dana), version, "Now it does.")
    assert (again.pk == made.pk) == (verb == "request_changes")
    services.approve(Principal.of(org.pat), again)
    assert state(version) == "approved"


def test_taking_it_back_gives_the_version_back(org: Org) -> None:
    version = propose(org.dana)
    services.withdraw(Principal.of(org.dana), admission.submit(Principal.of(org.dana), version))
    assert state(version) == "draft"


def test_worse_evidence_makes_the_plan_stale(org: Org) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    fail(version)
    with pytest.raises(Conflict) as caught:
        services.approve(Principal.of(org.pat), made)
    assert caught.value.code == "plan_stale" and "It is broken now" in caught.value.sentence
    assert state(version) == "in_review" and not Decision.objects.exists()


def test_other_evidence_of_the_same_verdict_is_recorded_beside_the_frozen_one(org: Org) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    Evidence.objects.filter(version=version, kind="card").update(digest="sha256:" + "0" * 64)
    services.approve(Principal.of(org.pat), made)
    decision = Decision.objects.get()
    assert decision.plan_digest == made.plan_digest != decision.plan_digest_now


def test_a_block_while_it_waits_wins_and_the_answer_leaves_it(org: Org) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    catalog.block(Principal.of(org.yasmine), version, "Its loader runs code.")
    with pytest.raises(Conflict):
        services.approve(Principal.of(org.pat), made)
    services.reject(Principal.of(org.pat), made, reason="It is blocked.")
    assert state(version) == "blocked" and Version.objects.get(pk=version.pk).state_reason == "Its loader runs code."


def test_a_blocked_version_is_let_in_again_by_a_review_and_stays_blocked_without(org: Org) -> None:
    version = propose(org.dana)
    services.approve(Principal.of(org.pat), admission.submit(Principal.of(org.dana), version))
    catalog.block(Principal.of(org.yasmine), version, "A finding.")
    version.refresh_from_db()
    with pytest.raises(Forbidden):  # it is not the proposer's any more
        admission.submit(Principal.of(org.dana), version)
    made = admission.submit(Principal.of(org.pat), version)
    services.withdraw(Principal.of(org.pat), made)
    version.refresh_from_db()
    assert (version.state, version.state_reason) == ("blocked", "A finding.")
    made = admission.submit(Principal.of(org.pat), version)
    services.reject(Principal.of(org.yasmine), made, reason="Not fixed.")
    version.refresh_from_db()
    assert (version.state, version.state_reason) == ("blocked", "Not fixed.")
    made = admission.submit(Principal.of(org.pat), version)
    services.approve(Principal.of(org.yasmine), made)
    assert state(version) == "approved"


def test_the_plan_says_what_differs_from_the_version_before(org: Org) -> None:
    version = propose(org.dana)
    services.approve(Principal.of(org.pat), admission.submit(Principal.of(org.dana), version))
    needs = {**NEEDS, "layers": 41}
    spec = VersionSpec.model_validate({**VERSION, "version": "2.0", "needs": needs, "licence": "MIT"})
    added = catalog.add_version(Principal.of(org.dana), version.asset, spec)
    made = admission.submit(Principal.of(org.dana), added)
    changes = {row["field"]: (row["before"], row["after"]) for row in made.plan["changes"]}
    assert changes == {"Licence": ("Apache-2.0", "MIT"), "Layers": ("40", "41")}
    assert made.plan["before"]["version"] == "1.0"


def test_the_form_offers_own_drafts_sends_them_and_takes_them_back_for_changes(org: Org, client_for: Any) -> None:
    version, client = propose(org.dana), client_for(org.dana)
    page = client.get("/requests/new/", {"kind": "admission", "asset": "tiny", "version": "1.0"}).content.decode()
    assert 'value="tiny@1.0" selected' in page and "Licence" in page, "the plan is there at once"
    assert "tiny@1.0" not in client_for(org.omar).get("/requests/new/", {"kind": "admission"}).content.decode()
    form = {"kind": "admission", "proposal": "tiny@1.0", "purpose": "For the fraud desk.", "action": "send"}
    assert client.post("/requests/new/?kind=admission", form).status_code == 302
    made = Request.objects.get()
    services.request_changes(Principal.of(org.pat), made, reason="Say more.")
    assert "Say more." in client.get(f"/requests/{made.pk}/edit/").content.decode()
    again = client.post(f"/requests/{made.pk}/edit/", form | {"purpose": "More words."})
    made.refresh_from_db()
    assert again.status_code == 302 and (made.state, made.submission, state(version)) == ("submitted", 2, "in_review")
    for page_of in (client, client_for(org.pat)):
        for path in ("/", "/requests/", "/insights/", "/search/?q=tiny", f"/requests/{made.pk}/"):
            if not (page_of is client and path == "/insights/"):
                assert page_of.get(path).status_code == 200, path
    assert "tiny" in client_for(org.pat).get("/approvals/").content.decode()


def test_by_api_sent_decided_and_shown(org: Org, api_for: Any) -> None:
    propose(org.dana)
    dana = api_for(org.dana, "catalog:read", "catalog:write", "requests:read", "requests:write")
    checked = dana.post("/requests/check", {"kind": "admission", "asset": "tiny", "version": "1.0"})
    assert checked.status_code == 200 and {item["kind"] for item in checked.json()["evidence"]} >= {"card", "pin"}
    path = "/catalog/assets/tiny/versions/1.0/submit"
    sent = dana.post(path, {"purpose": "For the fraud desk."}).json()
    assert sent["state"] == "in_review" and dana.post(path).json()["request"] == sent["request"]
    shown = dana.get(f"/requests/{sent['request']['id']}").json()
    assert (shown["kind"], shown["project"], shown["asset"], shown["purpose"]) == (
        "admission", None, "tiny", "For the fraud desk.",
    )  # fmt: skip
    assert api_for(org.omar, "requests:read").get(f"/requests/{sent['request']['id']}").status_code == 404
    pat = api_for(org.pat, "approvals:decide", "requests:read")
    assert pat.get("/requests", {"assigned": "me"}).json()["items"][0]["id"] == sent["request"]["id"]
    decided = pat.post(f"/requests/{sent['request']['id']}/decisions", {"decision": "approve"})
    assert decided.json()["stages"][1]["state"] == "done" and state(Version.objects.get()) == "approved"
    assert dana.get("/requests", {"kind": "admission"}).json()["items"][0]["state"] == "approved"


# --- At the same instant ----------------------------------------------------------------------------------------------


def at_once(*works: Callable[[], str]) -> list[str]:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], str]) -> str:
        try:
            barrier.wait(timeout=10)
            return work()
        except (Conflict, Invalid) as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [task.result(timeout=60) for task in [pool.submit(run, work) for work in works]]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_approvals_and_a_block_at_the_same_instant(org: Org) -> None:
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)

    def approve(user: User) -> Callable[[], str]:
        return lambda: services.approve(Principal.of(user), Request.objects.get(pk=made.pk)).state

    def block() -> str:
        return catalog.block(Principal.of(org.yasmine), Version.objects.get(pk=version.pk), "At once.").state

    results = at_once(approve(org.pat), approve(org.ravi), block)
    assert results[2] == "blocked" and state(version) == "blocked", "the kill switch wins in every order"
    assert results[:2].count("approved") <= 1 and Decision.objects.count() == results[:2].count("approved")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_sent_twice_at_the_same_instant_is_one_request(org: Org) -> None:
    version = propose(org.dana)

    def send(user: User) -> Callable[[], str]:
        return lambda: admission.submit(Principal.of(user), Version.objects.get(pk=version.pk)).number

    at_once(send(org.dana), send(org.pat), send(org.yasmine))
    assert Request.objects.filter(state=RequestState.SUBMITTED).count() == 1 and state(version) == "in_review"
