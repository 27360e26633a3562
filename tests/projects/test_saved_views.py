"""Saved views: kept, opened, replaced, deleted; private; at most fifty of a list."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects import saved_views
from projects.models import SavedView
from projects.principal import ANONYMOUS, Principal
from tests.conftest import Org

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
SAVE = "/views/save/"


def test_it_works(org: Org, client_for: Clients) -> None:
    """A filtered list is kept under a name, opened from the menu, marked as the present one, and deleted."""
    client = client_for(org.dana)
    here = "/endpoints/?phase=failed&sort=until"
    answer = client.post(SAVE, {"name": " Broken ones ", "next": here}, follow=True)
    html = answer.content.decode()
    assert answer.redirect_chain == [(here, 302)] and "The view Broken ones is saved" in html
    view = SavedView.objects.get()
    assert (view.person, view.page, view.name) == (org.dana, "endpoint_list", "Broken ones")
    assert 'href="/endpoints/?phase=failed&amp;sort=until" aria-current="true"' in html
    other = client.get("/endpoints/").content.decode()
    assert "Broken ones" in other and 'failed&amp;sort=until" aria-current' not in other
    assert "Broken ones" not in client.get("/requests/").content.decode()
    gone = client.post(f"/views/{view.pk}/delete/", {"next": here}, follow=True).content.decode()
    assert "The view Broken ones is deleted." in gone and not SavedView.objects.exists()
    actions = list(Row.objects.filter(action__startswith="views.").order_by("id").values_list("action", "after"))
    assert [action for action, _ in actions] == ["views.save", "views.delete"] and "phase=failed" in actions[0][1]


def test_where_somebody_stood_is_no_part_of_a_view(org: Org) -> None:
    by = Principal.of(org.dana)
    view = saved_views.save_view(by, name="x", address="/requests/?state=draft&after=abc&before=d&format=csv&size=50")
    assert view.query == "state=draft&size=50"


def test_a_view_of_a_list_with_a_project_in_its_path(org: Org, client_for: Clients) -> None:
    """It is a view of the list, so it opens in every project."""
    client = client_for(org.dana)
    client.post(SAVE, {"name": "Mine", "next": "/projects/fraud-detection/keys/?mine=1"})
    assert (
        'href="/projects/fraud-detection/keys/?mine=1"'
        in client.get("/projects/fraud-detection/keys/").content.decode()
    )
    org.search.memberships.create(user=org.dana, role="viewer")
    assert (
        'href="/projects/search-ranking/keys/?mine=1"' in client.get("/projects/search-ranking/keys/").content.decode()
    )


def test_the_same_name_replaces(org: Org) -> None:
    by = Principal.of(org.dana)
    first = saved_views.save_view(by, name="x", address="/requests/?state=draft")
    again = saved_views.save_view(by, name="x", address="/requests/")
    assert again.pk == first.pk and again.query == "" and SavedView.objects.count() == 1
    saved_views.save_view(by, name="x", address="/endpoints/")
    assert SavedView.objects.count() == 2  # another list, another view
    assert Row.objects.filter(action="views.save", before__contains="state=draft").count() == 1


def test_views_are_private(org: Org, client_for: Clients) -> None:
    view = saved_views.save_view(Principal.of(org.dana), name="Secret plan", address="/requests/?state=draft")
    client = client_for(org.omar)
    assert "Secret plan" not in client.get("/requests/").content.decode()
    assert client.post(f"/views/{view.pk}/delete/").status_code == 404
    assert client.post(f"/views/{2**63}/delete/").status_code == 404
    with pytest.raises(NotFound):
        saved_views.delete_view(Principal.of(org.omar), view.pk)
    with pytest.raises(Forbidden):
        saved_views.delete_view(ANONYMOUS, view.pk)
    assert SavedView.objects.exists()


def test_fifty_and_no_more(org: Org, client_for: Clients) -> None:
    """Of each list; an existing one can still be replaced. The menu says it before anybody types."""
    by, client = Principal.of(org.dana), client_for(org.dana)
    for number in range(saved_views.MAX_VIEWS):
        assert 'placeholder="Name of this view"' in client.get("/requests/").content.decode() or number
        saved_views.save_view(by, name=f"view {number}", address="/requests/?state=draft")
    sentence = "You have 50 saved views of this list; delete one first."
    html = client.get("/requests/").content.decode()
    assert sentence in html and 'placeholder="Name of this view"' not in html
    refused = client.post(SAVE, {"name": "one more", "next": "/requests/"})
    assert refused.status_code == 409 and sentence in refused.content.decode()
    with pytest.raises(Conflict) as error:
        saved_views.save_view(by, name="one more", address="/requests/")
    assert error.value.code == "too_many_views" and SavedView.objects.count() == 50
    saved_views.save_view(by, name="view 7", address="/requests/?mine=1")
    saved_views.save_view(by, name="elsewhere", address="/endpoints/")
    saved_views.save_view(Principal.of(org.omar), name="somebody else", address="/requests/")


@pytest.mark.parametrize(
    ("name", "address", "words"),
    [
        ("", "/requests/", "name needs at least 1 character"),
        ("   ", "/requests/", "name needs at least 1 character"),
        ("x" * 61, "/requests/", "name has 61 characters; the limit is 60"),
        ("a\x1bb", "/requests/", "control character"),
        ("x", "", "Views are saved of list pages only"),
        ("x", "/usage/../", "Views are saved of list pages only"),
        ("x", "/requests/new/", "Views are saved of list pages only"),
        ("x", "https://[evil", "Views are saved of list pages only"),
        ("x", "/admin/", "Views are saved of list pages only"),
        ("x", "/requests/?q=" + "x" * 1000, "The filters of this view have 1,002 characters; the limit is 1,000"),
        ("x", "/requests/?" + "q=x&" * 100_000, "the limit is 1,000"),
    ],
)
def test_what_is_refused(org: Org, client_for: Clients, name: str, address: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        saved_views.save_view(Principal.of(org.dana), name=name, address=address)
    assert client_for(org.dana).post(SAVE, {"name": name, "next": address}).status_code == 422
    assert not SavedView.objects.exists() and not Row.objects.filter(action="views.save").exists()


def test_nobody_is_led_away(org: Org, client_for: Clients) -> None:
    """The address of another site is read as one of ours, never followed."""
    client = client_for(org.dana)
    answer = client.post(SAVE, {"name": "x", "next": "https://evil.example/requests/?state=draft"})
    assert answer.status_code == 302 and answer["Location"] == "/"
    assert SavedView.objects.get().query == "state=draft"


def test_get_changes_nothing(org: Org, client_for: Clients) -> None:
    assert client_for(org.dana).get(SAVE).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(org.dana)
    assert strict.post(SAVE, {"name": "x", "next": "/requests/"}).status_code == 403
