"""Access reviews: every entry has somebody who answers, one click keeps or revokes, and guards hold."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from time_machine import travel

from approvals.access import review as reviews
from approvals.models import AccessReview, AccessReviewItem, Outcome
from approvals.tasks import remind
from audit.models import Row
from catalog import audience
from endpoints import services as endpoint_services
from endpoints.keys import issue_key
from endpoints.models import Share
from portal.errors import Conflict, Forbidden, Invalid
from projects import keys, services
from projects.models import Membership, Notification, User
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import make_asset, make_endpoint

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def due(days: int = 30) -> dt.date:
    return timezone.now().date() + dt.timedelta(days=days)


@pytest.fixture
def review(org: Org) -> AccessReview:
    """A review of everything; dana holds a key, search-ranking a share, cy and search-ranking an asset."""
    pat, omar = Principal.of(org.pat), Principal.of(org.omar)
    issue_key(Principal.of(org.dana), org.fraud, "service", [])
    endpoint = endpoint_services.set_shareable(omar, make_endpoint(org.dana), True)
    endpoint_services.share(omar, endpoint, org.search, ends_on=None)
    asset = make_asset(slug="secret-model")
    audience.list_only(pat, asset, "A pilot.")
    audience.grant_person(pat, asset, "cy", reason="A pilot.", ends_on=due())
    audience.grant_project(pat, asset, "search-ranking", reason="A pilot.", ends_on=None)
    return reviews.start(Principal.of(org.yasmine), name="First quarter", due_on=due())


def entry(review: AccessReview, kind: str, holder: str) -> AccessReviewItem:
    return review.items.get(kind=kind, holder=holder)


def test_everything_that_is_held_is_an_entry_with_somebody_who_answers(org: Org, review: AccessReview) -> None:
    found = set(review.items.values_list("kind", "holder"))
    assert {("membership", "dana"), ("group", "pat"), ("key", "dana"), ("share", "search-ranking")} <= found
    assert {("asset-user", "cy"), ("asset-project", "search-ranking")} <= found
    assert entry(review, "membership", "dana").reviewer == org.omar
    assert entry(review, "membership", "omar").reviewer is None  # the only owner does not answer for himself
    assert entry(review, "group", "pat").reviewer is None
    told = Notification.objects.filter(kind="review.waiting")
    assert set(told.values_list("person__username", flat=True)) == {"omar", "yasmine"}  # cy owns alone


def test_keep_and_revoke_by_whoever_answers(org: Org, review: AccessReview) -> None:
    omar = Principal.of(org.omar)
    assert reviews.decide(omar, entry(review, "membership", "vic"), "keep").outcome == Outcome.KEEP
    said = reviews.decide(omar, entry(review, "membership", "dana"), "revoke", reason="Moved on.")
    assert said.outcome == Outcome.REVOKE and not Membership.objects.filter(project=org.fraud, user=org.dana).exists()
    reviews.decide(omar, entry(review, "share", "search-ranking"), "revoke")
    assert not Share.objects.filter(ended_at__isnull=True).exists()
    pat = Principal.of(org.pat)
    reviews.decide(pat, entry(review, "asset-user", "cy"), "revoke")
    reviews.decide(Principal.of(org.yasmine), entry(review, "group", "aud"), "revoke", reason="Left the audit.")
    assert not org.aud.groups.exists()
    rows = Row.objects.filter(action="reviews.decide")
    assert rows.count() == 5 and rows.filter(reason="Moved on.").count() == 1
    assert Row.objects.filter(action="projects.remove_member", via="review").count() == 1


def test_a_revoked_key_stops(org: Org, review: AccessReview) -> None:
    _, secret = issue_key(Principal.of(org.dana), org.fraud, "later", [])
    second = reviews.start(Principal.of(org.pat), name="Keys", due_on=due(), project=org.fraud)
    for item in second.items.filter(kind="key"):
        reviews.decide(Principal.of(org.omar), item, "revoke")
    assert keys.find(secret) is None


def test_nobody_answers_for_themselves_or_for_others(org: Org, review: AccessReview) -> None:
    for who, item in (
        (org.dana, entry(review, "membership", "vic")),
        (org.cy, entry(review, "membership", "dana")),
        (org.aud, entry(review, "membership", "dana")),
        (org.omar, entry(review, "membership", "omar")),
        (org.pat, entry(review, "group", "pat")),
    ):
        with pytest.raises(Forbidden):
            reviews.decide(Principal.of(who), item, "keep")
    assert not review.items.exclude(outcome=Outcome.WAITING).exists()


def test_the_guards_of_the_services_hold(org: Org, review: AccessReview) -> None:
    """A project keeps its owner and the platform somebody who runs it; the entry then stays unanswered."""
    item = entry(review, "membership", "omar")
    with pytest.raises(Conflict) as refused:
        reviews.decide(Principal.of(org.pat), item, "revoke")
    assert refused.value.code == "last_owner"
    item.refresh_from_db()
    assert item.outcome == Outcome.WAITING and Membership.objects.filter(project=org.fraud, user=org.omar).exists()


def test_what_ended_by_itself_is_marked_so(org: Org, review: AccessReview) -> None:
    services.remove_member(Principal.of(org.omar), org.fraud, username="vic")
    said = reviews.decide(Principal.of(org.omar), entry(review, "membership", "vic"), "keep")
    assert said.outcome == Outcome.GONE


def test_an_answer_is_given_once_but_a_kept_entry_can_still_be_revoked(org: Org, review: AccessReview) -> None:
    omar, item = Principal.of(org.omar), entry(review, "membership", "vic")
    reviews.decide(omar, item, "keep")
    with pytest.raises(Conflict):
        reviews.decide(omar, item, "keep")
    assert reviews.decide(omar, item, "revoke").outcome == Outcome.REVOKE
    with pytest.raises(Conflict):
        reviews.decide(omar, item, "keep")


def test_closing_counts_and_ends_answers(org: Org, review: AccessReview) -> None:
    reviews.decide(Principal.of(org.omar), entry(review, "membership", "vic"), "keep")
    with pytest.raises(Forbidden):
        reviews.close(Principal.of(org.aud), review)
    closed = reviews.close(Principal.of(org.yasmine), review)
    row = Row.objects.filter(action="reviews.close").get()
    assert closed.state == "closed" and '"keep":1' in row.after and '"waiting"' in row.after
    with pytest.raises(Conflict) as refused:
        reviews.decide(Principal.of(org.omar), entry(review, "membership", "dana"), "keep")
    assert refused.value.code == "review_closed"


def test_reminders_come_once_a_day_from_a_week_before(org: Org, review: AccessReview) -> None:
    def told() -> int:
        return Notification.objects.filter(kind="review.waiting", person=org.omar).count()

    before = told()
    remind()
    assert told() == before
    with travel(dt.datetime.combine(review.due_on - dt.timedelta(days=5), dt.time(12), dt.UTC), tick=False):
        remind()
        remind()
        assert told() == before + 1
    with travel(dt.datetime.combine(review.due_on + dt.timedelta(days=1), dt.time(12), dt.UTC), tick=False):
        remind()
        assert told() == before + 2
        assert "overdue" in Notification.objects.filter(person=org.omar).order_by("-id")[0].title


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"name": ""}, "name"), ({"name": "x" * 90}, "name"), ({"due_on": dt.date(2020, 1, 1)}, "due_on")],
)
def test_bad_input_is_named(org: Org, fields: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {"name": "Review", "due_on": due()}
    with pytest.raises(Invalid) as refused:
        reviews.start(Principal.of(org.pat), **(good | fields))
    assert field in refused.value.fields and not AccessReview.objects.exists()
    with pytest.raises(Forbidden):
        reviews.start(Principal.of(org.omar), **good)


def test_readers_see_their_part(org: Org, review: AccessReview) -> None:
    assert set(reviews.entries_of(Principal.of(org.omar), review).values_list("project__slug", flat=True)) == {
        "fraud-detection"
    }
    assert not reviews.reviews_of(Principal.of(org.vic)).exists()
    assert reviews.entries_of(Principal.of(org.aud), review).count() == review.items.count()


def test_pages_one_click_and_many(org: Org, review: AccessReview, client_for: Any) -> None:
    omar, url = client_for(org.omar), f"/access/reviews/{review.pk}/"
    assert b"First quarter" in omar.get("/access/reviews/").content
    page = omar.get(url)
    assert b">dana<" in page.content and b"secret-model" not in page.content
    assert client_for(org.vic).get(url).status_code == 404
    one = entry(review, "membership", "vic").pk
    assert omar.post(f"{url}answer/", {"id": one, "action": "keep"}).status_code == 302
    ids = [entry(review, "membership", "dana").pk, entry(review, "key", "dana").pk, "99999"]
    many = omar.post(f"{url}answer/", {"id": ids, "action": "revoke"})
    assert many.status_code == 200 and b"2 of 3 done" in many.content
    csv = b"".join(omar.get(f"{url}?format=csv").streaming_content)
    assert b"dana" in csv and b"revoke" in csv
    form = {"name": "Second", "due_on": due().isoformat(), "project": "fraud-detection"}
    assert omar.post("/access/reviews/", form).status_code == 403
    assert client_for(org.yasmine).post("/access/reviews/", form).status_code == 302
    wrong = client_for(org.yasmine).post("/access/reviews/", form | {"due_on": "soon"})
    assert wrong.status_code == 422 and b"Second" in wrong.content


def test_the_api(org: Org, review: AccessReview, api_for: Any) -> None:
    omar = api_for(org.omar, "audit:read", "admin")
    listed = omar.get("/access/reviews").json()["items"]
    assert [row["name"] for row in listed] == ["First quarter"]
    entries = omar.get(f"/access/reviews/{review.pk}/entries").json()["items"]
    assert {row["project"] for row in entries} == {"fraud-detection"}
    vic = next(row for row in entries if row["holder"] == "vic")
    path = f"/access/reviews/{review.pk}/entries/{vic['id']}"
    assert omar.post(path, {"outcome": "shrug"}).status_code == 422
    assert omar.post(path, {"outcome": "revoke", "reason": "Left."}).json()["outcome"] == "revoke"
    assert omar.post(f"/access/reviews/{review.pk}/close").status_code == 403
    assert api_for(org.pat, "admin").post(f"/access/reviews/{review.pk}/close").json()["state"] == "closed"
    assert not User.objects.get(username="vic").memberships.exists()
