"""Changing the card of an asset: whose it is, what is judged again, what a form keeps, how often somebody may."""

import datetime as dt
import json
import re
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from approvals import admission
from approvals import services as requests
from audit.models import Row
from catalog import asking, collecting, services
from catalog.models import Asset, Evidence, Listing, Version, VersionState
from catalog.specs import AssetSpec, CardSpec
from portal.errors import Conflict, Forbidden, NotFound, RateLimited
from projects.models import User
from projects.principal import Principal
from tests.approvals.test_admission import ASSET
from tests.conftest import Org
from tests.factories import CARD

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

PATH, PAGE = "/catalog/assets/tiny", "/catalog/tiny/change/"


def propose(user: User, **fields: Any) -> Version:
    asset = services.create_asset(Principal.of(user), AssetSpec.model_validate({**ASSET, **fields}))
    return asset.versions.get()


def let_in(version: Version, org: Org) -> None:
    requests.approve(Principal.of(org.pat), admission.submit(Principal.of(org.dana), version))


def form(**fields: str) -> dict[str, str]:
    shown = {name: ASSET[name] for name in ("name", "publisher", "summary", "description", "homepage")}
    return shown | {"tasks": "chat", "languages": "en"} | fields


def card(version: Version) -> Evidence:
    return next(item for item in version.latest_evidence() if item.kind == "card")


# --- By the API -------------------------------------------------------------------------------------------------------


def test_a_proposer_answers_ask_for_changes_by_api(org: Org, api_for: Any) -> None:
    """The card is changed with the tag that was read, judged again, and recorded before and after."""
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    requests.request_changes(Principal.of(org.pat), made, reason="The summary says nothing.")
    api = api_for(org.dana, "catalog:read", "catalog:write")
    tag = api.get(PATH)["ETag"]
    body = {"summary": "Sorts letters of complaint.", "description": "Nothing more.", "tasks": ["chat", "sorting"]}
    assert api.patch(PATH, body).status_code == 428
    assert api.patch(PATH, body, If_Match='"old"').status_code == 412
    answer = api.patch(PATH, body, If_Match=tag)
    assert answer.status_code == 200, answer.content
    assert (answer.json()["summary"], answer.json()["tasks"]) == ("Sorts letters of complaint.", ["chat", "sorting"])
    assert answer["ETag"] != tag
    row = Row.objects.get(action="catalog.change_asset")
    assert json.loads(row.before)["summary"] == "Small." and row.actor == Principal.of(org.dana).key
    assert set(json.loads(row.after)) == {"summary", "description", "tasks"}
    assert card(version).verdict == "fail", "the finding about the old words does not stand"
    assert "complaint" in Listing.objects.get(audience="reviewers").text
    with pytest.raises(Exception, match="Card"):
        admission.submit(Principal.of(org.dana), version)
    tag = api.get(PATH)["ETag"]
    assert api.patch(PATH, {"description": CARD}, If_Match=tag).status_code == 200
    again = admission.submit(Principal.of(org.dana), version)
    requests.approve(Principal.of(org.pat), again)
    assert again.pk == made.pk and Version.objects.get().state == VersionState.APPROVED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "x" * 81), ("name", "two\nlines"), ("summary", "x" * 301), ("tasks", "chat"),
        ("tasks", ["Über"]), ("description", "x" * 20_001), ("homepage", "javascript:alert(1)"), ("slug", "other"),
        ("kind", "mcp-server"), ("languages", ["en"] * 201), ("summary", "\u202eturned"), ("publisher", 7),
    ],
)  # fmt: skip
def test_bad_values_name_the_field_and_change_nothing(org: Org, api_for: Any, field: str, value: Any) -> None:
    propose(org.dana)
    api = api_for(org.dana, "catalog:read", "catalog:write")
    answer = api.patch(PATH, {"publisher": "Them", field: value}, If_Match=api.get(PATH)["ETag"])
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"].startswith(field)
    assert Asset.objects.get().card() == {name: ASSET[name] for name in Asset.objects.get().card()}
    assert not Row.objects.filter(action="catalog.change_asset").exists()


def test_whose_the_card_is(org: Org, api_for: Any) -> None:
    """The proposer's until a version was approved, the stewards' always, nobody else's."""
    version = propose(org.dana)
    wanted = CardSpec(summary="Changed.")
    for person, refusal in ((org.omar, NotFound), (org.cy, NotFound), (org.aud, Forbidden)):
        with pytest.raises(refusal):
            services.change_asset(Principal.of(person), version.asset, wanted)
    services.change_asset(Principal.of(org.dana), version.asset, wanted)
    let_in(version, org)
    with pytest.raises(Forbidden):
        services.change_asset(Principal.of(org.dana), version.asset, CardSpec(summary="Now what I like."))
    dana = api_for(org.dana, "catalog:read", "catalog:write")
    tag = dana.get(PATH)["ETag"]
    assert dana.patch(PATH, {"summary": "Now what I like."}, If_Match=tag).status_code == 403
    assert Asset.objects.get().summary == "Changed."
    bound = api_for(org.omar, "catalog:read", "catalog:write", project=org.fraud)
    assert bound.patch(PATH, {"summary": "x"}, If_Match="*").status_code == 403
    # A proposer may change words, not whom it is for.
    fresh = propose(org.dana, slug="fresh").asset
    answer = dana.patch("/catalog/assets/fresh", {"summary": "x", "access": "listed"}, If_Match="*")
    fresh.refresh_from_db()
    assert answer.status_code == 403 and (fresh.summary, fresh.access) == ("Small.", "everyone")


def test_a_steward_changes_an_approved_card_and_its_standing_does_not_stay(org: Org) -> None:
    version = propose(org.dana)
    let_in(version, org)
    before = card(version)
    services.change_asset(Principal.of(org.yasmine), version.asset, CardSpec(summary="Other words."))
    version = Version.objects.get()
    assert (card(version).verdict, card(version).pk == before.pk) == ("pass", False), "a finding is about its text"
    services.change_asset(Principal.of(org.pat), version.asset, CardSpec(description="No sections."))
    assert card(Version.objects.get()).verdict == "fail"
    count = Row.objects.count()
    services.change_asset(Principal.of(org.pat), Asset.objects.get(), CardSpec(description="No sections."))
    assert Row.objects.count() == count, "the same again changes nothing"


def test_nobody_lets_in_words_that_no_reviewer_has_read(org: Org) -> None:
    """A card that changes while it waits makes the plan stale, whoever changed it, and though every check passes."""
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    services.change_asset(Principal.of(org.dana), version.asset, CardSpec(summary="Something else."))
    with pytest.raises(Conflict, match="card of tiny was changed") as caught:
        requests.approve(Principal.of(org.pat), made)
    assert caught.value.code == "plan_stale" and Version.objects.get().state == VersionState.IN_REVIEW
    requests.request_changes(Principal.of(org.pat), made, reason="Send it again.")
    requests.approve(Principal.of(org.pat), admission.submit(Principal.of(org.dana), Version.objects.get()))
    assert Version.objects.get().state == VersionState.APPROVED


# --- By the page ------------------------------------------------------------------------------------------------------


def test_the_form_begins_with_the_card_and_changes_it(org: Org, client_for: Any) -> None:
    version, client = propose(org.dana), client_for(org.dana)
    assert PAGE in client.get("/catalog/tiny/").content.decode()
    page = client.get(PAGE).content.decode()
    assert 'value="Small."' in page and "Intended use" in page and 'name="slug"' not in page
    seen = re.search(r'name="seen" value="([^"]+)"', page)
    assert seen is not None
    longer = CARD + "\n" + "More on what it is. " * 30 + "The end."
    sent = form(
        seen=seen[1], summary="Sorts <b>letters</b>.", description=longer.replace("\n", "\r\n"), tasks="chat, x"
    )
    assert client.post(PAGE, sent)["Location"].startswith("/catalog/tiny/")
    asset = Asset.objects.get()
    assert (asset.summary, asset.tasks, asset.description) == ("Sorts <b>letters</b>.", ["chat", "x"], longer.strip())
    history = client.get("/catalog/tiny/?tab=history").content.decode()
    assert "Card changed" in history and "Small. → Sorts &lt;b&gt;letters&lt;/b&gt;." in history
    assert "More on what it is." in history, "of long texts the part that differs"
    assert card(version).report["text"] == asset.card_digest()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "Name is missing"), ("homepage", "ftp://x", "https://"), ("tasks", "Über", "lower-case"),
        ("description", "", "Card is missing"), ("summary", "x" * 301, "300"),
    ],
)  # fmt: skip
def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(
    org: Org, client_for: Any, field: str, value: str, said: str
) -> None:
    propose(org.dana)
    answer = client_for(org.dana).post(PAGE, form(publisher="Typed & kept", **{field: value}))
    page = answer.content.decode()
    assert answer.status_code == 422 and "Typed &amp; kept" in page
    place = page.split(f'id="id_{field}"')[1].split("</div></div>")[0]
    assert 'aria-invalid="true"' in place and said in re.sub(r"<[^>]+>", " ", page)
    assert Asset.objects.get().publisher == "Us"


def test_two_open_forms_do_not_overwrite_each_other(org: Org, client_for: Any) -> None:
    version, client = propose(org.dana), client_for(org.dana)
    seen = version.asset.card_digest()
    assert client.post(PAGE, form(seen=seen, summary="The first.")).status_code == 302
    refused = client.post(PAGE, form(seen=seen, summary="The second."))
    page = refused.content.decode()
    assert refused.status_code == 409 and "changed by somebody else" in page and "The second." in page
    assert Asset.objects.get().summary == "The first."


def test_a_server_is_described_by_its_card_alone(org: Org, client_for: Any) -> None:
    facts = {"remotes": [{"type": "streamable-http", "url": "https://notes.example.com/mcp"}]}
    versions = [{"version": "1.0", "source": "https://notes.example.com/mcp", "licence": "MIT", "facts": facts}]
    propose(org.dana, kind="mcp-server", languages=[], versions=versions)
    client = client_for(org.dana)
    page = client.get(PAGE).content.decode()
    assert 'name="languages"' not in page and "as the document says" not in page
    assert client.post(PAGE, form(name="Notes, read only")).status_code == 302
    assert Asset.objects.get().name == "Notes, read only"


def test_what_waits_is_said_before_it_is_changed(org: Org, client_for: Any) -> None:
    version, client = propose(org.dana), client_for(org.dana)
    assert "waits for a decision" not in client.get(PAGE).content.decode()
    admission.submit(Principal.of(org.dana), version)
    assert "1.0 waits for a decision" in client.get(PAGE).content.decode()


# --- How often --------------------------------------------------------------------------------------------------------


def test_a_proposer_asks_for_evidence_so_often_and_no_more(org: Org, client_for: Any, api_for: Any) -> None:
    """All own proposals count together, pages and API too; stewards and other people are not held up."""
    version, other = propose(org.dana), propose(org.dana, slug="other")
    dana, now = Principal.of(org.dana), timezone.now().replace(minute=10)
    with time_machine.travel(now, tick=False):
        for number in range(asking.MOST - 1):
            collecting.want(dana, (version, other)[number % 2], ["card"])
        services.change_asset(dana, version.asset, CardSpec(summary="Counts like asking."))
        with pytest.raises(RateLimited, match=r"20 times within an hour.* 50 minutes") as caught:
            collecting.want(dana, version, ["card"])
        assert caught.value.extra["retry_after"] == 50 * 60 - now.second
        with pytest.raises(RateLimited):
            services.change_asset(dana, version.asset, CardSpec(summary="One too many."))
        assert Asset.objects.get(slug="tiny").summary == "Counts like asking."
        answer = api_for(org.dana, "catalog:write").post(f"{PATH}/versions/1.0/reverify")
        assert answer.status_code == 429 and int(answer["Retry-After"]) > 0
        page = client_for(org.dana).post("/catalog/tiny/versions/1.0/collect/", {"kind": "card"}, follow=True)
        assert "20 times within an hour" in page.content.decode()
        refused = client_for(org.dana).post(PAGE, form(summary="Typed & kept"))
        assert refused.status_code == 429 and "Typed &amp; kept" in refused.content.decode()
        for _ in range(asking.MOST + 1):
            collecting.want(Principal.of(org.pat), version, ["card"])
        collecting.want(Principal.of(org.cy), propose(org.cy, slug="of-cy"), ["card"])
    with time_machine.travel(now + dt.timedelta(minutes=51), tick=False):
        collecting.want(dana, version, ["card"])
