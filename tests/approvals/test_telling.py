"""Who is told about a request, and about what."""

import pytest
from django.db import transaction

from approvals import services, telling
from approvals.models import Request
from endpoints import services as endpoint_services
from projects.models import Notification
from tests.conftest import Org
from tests.factories import make_endpoint, make_request


def told(kind: str) -> dict[str, str]:
    """Who got a notification of `kind`, with its title."""
    found = Notification.objects.filter(kind=kind).select_related("person").order_by("id")
    return {row.person.username: row.title for row in found}


def test_reviewers_are_told_of_a_request(org: Org) -> None:
    """All who may decide, once per submission, with the page on which they do; not the requester."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    made = make_request(org.pat, name="scoring")
    assert set(told("request.submitted")) == {"ravi", "yasmine"}
    row = Notification.objects.filter(kind="request.submitted")[0]
    assert row.title == f"{made} waits for you: pat asks for the endpoint scoring in fraud-detection."
    assert row.url == f"/approvals/{made.pk}/" and row.text == made.body["purpose"]
    assert (row.about_kind, row.about_id, row.project) == ("request", str(made.pk), org.fraud)
    services.request_changes(org.principal(org.ravi), made, reason="Smaller.")
    services.submit(org.principal(org.pat), made)
    assert Notification.objects.filter(kind="request.submitted", person=org.ravi).count() == 2


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("approved", "request.approved"),
        ("rejected", "request.rejected"),
        ("changes_requested", "request.changes_requested"),
    ],
)
def test_the_requester_is_told_the_answer(org: Org, state: str, kind: str) -> None:
    """With the reason, and a way to the request."""
    made = make_request(org.dana, state=state)
    row = Notification.objects.get(kind=kind)
    assert row.person == org.dana and row.text == "for a test" and row.url == f"/requests/{made.pk}/"
    assert "pat" in row.title and made.number in row.title


def access(org: Org, state: str = "submitted") -> Request:
    endpoint = make_endpoint(org.cy, project="search-ranking", name="ranking")
    Notification.objects.all().delete()
    endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)
    made: Request = make_request(org.dana, kind="access", endpoint=endpoint, state=state)
    return made


def test_owners_are_told_of_access(org: Org) -> None:
    """They give it; the platform is asked only where there is no other owner."""
    access(org)
    assert set(told("request.submitted")) == {"cy"}
    assert told("request.submitted")["cy"].endswith("dana asks for access to ranking for fraud-detection.")


def test_the_platform_is_told_where_the_only_owner_asks(org: Org) -> None:
    """Nobody decides on an own request."""
    org.fraud.memberships.create(user=org.cy, role="owner")
    endpoint = make_endpoint(org.cy, project="search-ranking", name="ranking")
    endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)
    Notification.objects.all().delete()
    make_request(org.cy, kind="access", endpoint=endpoint)
    assert set(told("request.submitted")) == {"pat", "ravi", "yasmine"}


def test_a_comment_reaches_the_other_side(org: Org) -> None:
    """The requester; or the reviewers that took part; or all of them while nobody has. A draft has no other side."""
    made = make_request(org.dana)
    services.comment(org.principal(org.dana), made, "Please.")
    assert set(told("request.comment")) == {"pat", "ravi", "yasmine"}
    Notification.objects.all().delete()
    services.comment(org.principal(org.ravi), made, "Which data?")
    assert set(told("request.comment")) == {"dana"}
    services.comment(org.principal(org.omar), made, "Ours.")
    Notification.objects.all().delete()
    services.comment(org.principal(org.dana), made, "Card payments.")
    assert set(told("request.comment")) == {"ravi", "omar"}
    assert Notification.objects.get(person=org.ravi).url == f"/requests/{made.pk}/#timeline"
    Notification.objects.all().delete()
    services.comment(org.principal(org.omar), make_request(org.dana, state="draft"), "Hm.")
    assert not Notification.objects.filter(kind="request.comment").exists()


def test_nobody_is_told_of_what_was_rolled_back(org: Org) -> None:
    """Told in the transaction of the change."""
    made = make_request(org.dana)
    before = Notification.objects.count()

    def interrupted() -> None:
        with transaction.atomic():
            services.approve(org.principal(org.pat), made)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        interrupted()
    assert Notification.objects.count() == before


def test_people_who_left_are_not_asked(org: Org) -> None:
    """An inactive reviewer gets nothing."""
    org.ravi.is_active = False
    org.ravi.save()
    made = make_request(org.dana)
    assert {person.username for person in telling.deciders(made)} == {"pat", "yasmine"}
