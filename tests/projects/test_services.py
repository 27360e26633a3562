"""Projects and members: the guard, the change and the audit row are one."""

import threading

import pytest
from django.db import connection

from audit.models import Row
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from projects import services
from projects.models import Membership, Project
from projects.principal import Principal
from tests.conftest import Org


@pytest.mark.django_db
def test_create_project_makes_its_creator_owner(org: Org) -> None:
    project = services.create_project(Principal.of(org.pat), slug="credit-risk", name="Credit risk")
    assert Membership.objects.get(project=project).user == org.pat
    assert set(Row.objects.values_list("action", flat=True)) == {"projects.create", "projects.add_member"}


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["", "A", "-a", "a-", "a b", "ä", "x" * 41, "a/b", "a\n"])
def test_create_project_refuses_bad_slugs(org: Org, slug: str) -> None:
    with pytest.raises(Invalid) as error:
        services.create_project(Principal.of(org.pat), slug=slug, name="P")
    assert "slug" in error.value.fields and not Row.objects.exists()


@pytest.mark.django_db
def test_create_project_needs_the_platform_and_a_free_slug(org: Org) -> None:
    with pytest.raises(Forbidden):
        services.create_project(Principal.of(org.omar), slug="p", name="P")
    with pytest.raises(Conflict):
        services.create_project(Principal.of(org.pat), slug="search-ranking", name="P")


@pytest.mark.django_db
def test_set_member_adds_and_changes(org: Org) -> None:
    by = Principal.of(org.omar)
    services.set_member(by, org.fraud, username="cy", role="viewer")
    services.set_member(by, org.fraud, username="cy", role="developer")
    assert Membership.objects.get(project=org.fraud, user=org.cy).role == "developer"
    assert list(Row.objects.order_by("id").values_list("action", flat=True)) == [
        "projects.add_member",
        "projects.change_role",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("person", "username", "role", "error"),
    [
        ("omar", "cy", "king", Invalid),
        ("omar", "nobody", "viewer", NotFound),
        ("dana", "cy", "viewer", Forbidden),
        ("cy", "cy", "viewer", NotFound),
        ("omar", "omar", "viewer", Conflict),
    ],
)
def test_set_member_refuses(org: Org, person: str, username: str, role: str, error: type[GatehouseError]) -> None:
    before = list(Membership.objects.order_by("pk").values_list("user_id", "role"))
    with pytest.raises(error):
        services.set_member(Principal.of(getattr(org, person)), org.fraud, username=username, role=role)
    assert list(Membership.objects.order_by("pk").values_list("user_id", "role")) == before
    assert not Row.objects.exists()


@pytest.mark.django_db
def test_remove_member_keeps_an_owner(org: Org) -> None:
    by = Principal.of(org.omar)
    services.remove_member(by, org.fraud, username="dana")
    assert not Membership.objects.filter(project=org.fraud, user=org.dana).exists()
    with pytest.raises(Conflict):
        services.remove_member(by, org.fraud, username="omar")


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_remove_each_other_at_the_same_instant(org: Org) -> None:
    services.set_member(Principal.of(org.omar), org.fraud, username="cy", role="owner")
    barrier, refused = threading.Barrier(2), []

    def remove(who: Principal, username: str) -> None:
        barrier.wait()
        try:
            services.remove_member(who, org.fraud, username=username)
        except GatehouseError as error:
            refused.append(error)
        finally:
            connection.close()

    pairs = ((Principal.of(org.omar), "cy"), (Principal.of(org.cy), "omar"))
    threads = [threading.Thread(target=remove, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Membership.objects.filter(project=org.fraud, role="owner").count() == 1
    assert len(refused) == 1


@pytest.mark.django_db
def test_change_project_records_before_and_after(org: Org) -> None:
    services.change_project(Principal.of(org.omar), org.fraud, cost_centre="CC-1")
    assert Project.objects.get(pk=org.fraud.pk).cost_centre == "CC-1"
    row = Row.objects.get(action="projects.change")
    assert "CC-4711" in row.before and "CC-1" in row.after
