"""Role presets: sets of permissions under an organisation's own names, enforced like the built-in roles."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import Request
from audit.models import Row
from endpoints.models import Endpoint
from portal.errors import Conflict, Forbidden, Invalid
from projects import people, presets, services
from projects.models import ApiKey, Membership, Preset, Project, Role, Where
from projects.permissions import allows, can, can_anywhere, visible
from projects.principal import Principal
from projects.shipped import SHIPPED
from tests.conftest import Org
from tests.factories import make_endpoint, make_request

pytestmark = pytest.mark.django_db


def as_member(org: Org, role: str) -> Principal:
    """cy, a stranger until now, as a member of fraud-detection with `role`."""
    services.set_member(Principal.of(org.pat), org.fraud, username="cy", role=role)
    return Principal.of(org.cy)


def test_every_shipped_preset_is_there_documented_and_real(org: Org) -> None:
    rows = {row.slug: row for row in Preset.objects.all()}
    assert set(rows) == set(SHIPPED) and len(rows) == 11
    known = presets.known()
    for slug, row in rows.items():
        assert row.description and row.granted and row.granted <= known.keys(), slug
        assert Group.objects.filter(name=slug).exists() == (row.where == Where.PLATFORM)
    for shipped in SHIPPED.values():
        assert {*shipped.plus, *shipped.minus} <= known.keys()  # no permission that the portal does not have


def test_a_preset_of_a_project_opens_what_it_holds_and_nothing_else(org: Org) -> None:
    endpoint = make_endpoint(org.dana)
    by = as_member(org, "qa-engineer")
    assert can(by, "view", endpoint) and can(by, "retry", endpoint) and not can(by, "delete", endpoint)
    assert can(by, "create", org.fraud, model=ApiKey) and not can(by, "create", org.fraud, model=Request)
    assert endpoint in visible(by, Endpoint.objects.all()) and endpoint in visible(by, Endpoint.objects.all(), "retry")
    assert not visible(by, Endpoint.objects.all(), "delete").exists()
    assert not can(by, "view", Project.objects.create(slug="other", name="Other"))
    assert can_anywhere(by, "retry", Endpoint) and not can(by, "decide", make_request(org.dana))


def test_a_preset_on_the_platform_reads_everything_and_changes_what_it_says(org: Org) -> None:
    endpoint = make_endpoint(org.dana)
    people.set_groups(Principal.of(org.pat), org.cy, ["security-engineer"], reason="On call.")
    by = Principal.of(org.cy)
    assert can(by, "view", endpoint) and can(by, "suspend", endpoint) and not can(by, "resume", endpoint)
    assert can_anywhere(by, "view", Row) and not can(by, "decide", make_request(org.dana))
    assert visible(by, Project.objects.all()).count() == Project.objects.count()
    assert not can(by, "manage_members", org.fraud)


def test_presets_and_their_groups_never_mix(org: Org) -> None:
    """A group that is named like a role or like a preset of projects opens nothing."""
    for name in ("owner", "qa-engineer"):
        Group.objects.get_or_create(name=name)[0].user_set.add(org.cy)
    by = Principal.of(org.cy)
    assert not can(by, "view", org.fraud) and not can(by, "manage_members", org.fraud)
    assert not visible(by, Project.objects.exclude(pk=org.search.pk)).exists()
    assert not allows(by, "view", Endpoint, org.fraud.pk)
    Membership.objects.create(project=org.fraud, user=org.cy, role="security-engineer")  # a preset of the platform
    assert not can(Principal.of(org.cy), "view", org.fraud)


def test_a_bound_credential_stays_in_its_project(org: Org) -> None:
    as_member(org, "qa-engineer")
    bound = Principal.of(org.cy, via="token", project_id=org.search.pk)
    assert not can(bound, "view", org.fraud) and not allows(bound, "retry", Endpoint, org.fraud.pk)


def test_a_change_counts_at_once_for_everybody_who_holds_it(org: Org) -> None:
    endpoint = make_endpoint(org.dana)
    by = as_member(org, "qa-engineer")
    preset = Preset.objects.get(slug="qa-engineer")
    presets.change(Principal.of(org.pat), preset, name="QA", permissions=preset.granted - {"endpoints.endpoint.retry"})
    assert can(by, "retry", endpoint)  # the principal of a request that is under way keeps what it began with
    assert not can(Principal.of(org.cy), "retry", endpoint)
    row = Row.objects.filter(action="presets.change").get()
    assert "endpoints.endpoint.retry" in row.before and "endpoints.endpoint.retry" not in row.after
    presets.restore(Principal.of(org.yasmine), preset)
    assert can(Principal.of(org.cy), "retry", endpoint)


def test_a_principal_with_presets_still_costs_one_query(org: Org) -> None:
    as_member(org, "qa-engineer")
    with CaptureQueriesContext(connection) as seen:
        by = Principal.of(org.cy)
        allows(by, "retry", Endpoint, org.fraud.pk)
    assert len(seen) == 1


def test_nobody_changes_what_they_hold(org: Org) -> None:
    people.set_groups(Principal.of(org.pat), org.yasmine, ["governance-leads", "auditor"], reason="Both.")
    with pytest.raises(Forbidden, match="Somebody else"):
        presets.change(Principal.of(org.yasmine), Preset.objects.get(slug="auditor"), name="Auditor", permissions=[])
    with pytest.raises(Forbidden):
        presets.create(
            Principal.of(org.omar), slug="mine", name="Mine", where="project", permissions=["endpoints.endpoint.view"]
        )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"slug": "Bad Name"}, "slug"),
        ({"name": ""}, "name"),
        ({"name": "x" * 200}, "name"),
        ({"where": "moon"}, "where"),
        ({"permissions": ["endpoints.endpoint.fly"]}, "permissions"),
        ({"permissions": ["projects.user.change"]}, "permissions"),  # whoever gives roles is never a preset
        ({"permissions": ["projects.preset.change"]}, "permissions"),
        ({"permissions": ["catalog.version.approve"]}, "permissions"),  # of the whole platform, not of a project
        ({"description": "x" * 501}, "description"),
    ],
)
def test_what_a_preset_cannot_be_is_named(org: Org, fields: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {"slug": "steward", "name": "Steward", "where": "project", "permissions": []}
    with pytest.raises(Invalid) as refused:
        presets.create(Principal.of(org.pat), **(good | fields))
    assert field in refused.value.fields and not Preset.objects.filter(name="Steward").exists()


@pytest.mark.parametrize("slug", ["owner", "auditors", "qa-engineer", "auditor"])
def test_names_are_taken_once(org: Org, slug: str) -> None:
    with pytest.raises(Conflict):
        presets.create(Principal.of(org.pat), slug=slug, name="New", where="project", permissions=[])


def test_one_that_is_held_stays(org: Org) -> None:
    pat = Principal.of(org.pat)
    mine = presets.create(pat, slug="steward", name="Steward", where="project", permissions=["endpoints.endpoint.view"])
    services.set_member(pat, org.fraud, username="cy", role="steward")
    with pytest.raises(Conflict, match="held by 1"):
        presets.delete(pat, mine)
    services.remove_member(pat, org.fraud, username="cy")
    presets.delete(pat, mine)
    assert not Preset.objects.filter(slug="steward").exists()


def test_nobody_gives_more_than_they_hold(org: Org) -> None:
    """A project manager keeps members up to developers; an owner gives what owners hold; nobody climbs."""
    pat, omar = Principal.of(org.pat), Principal.of(org.omar)
    manager = as_member(org, "project-manager")
    services.set_member(manager, org.fraud, username="ravi", role="developer")
    for who, role in (("ravi", "owner"), ("cy", "owner"), ("ravi", "project-manager")):
        with pytest.raises(Forbidden, match="may not"):
            services.set_member(manager, org.fraud, username=who, role=role)
    with pytest.raises(Forbidden):
        services.set_member(manager, org.fraud, username="omar", role="viewer")
    with pytest.raises(Forbidden):
        services.remove_member(manager, org.fraud, username="omar")
    decides = presets.create(
        pat, slug="decider", name="Decider", where="project", permissions=["approvals.request.decide"]
    )
    with pytest.raises(Forbidden):
        services.set_member(omar, org.fraud, username="vic", role=decides.slug)
    services.set_member(omar, org.fraud, username="vic", role="qa-engineer")
    assert Membership.objects.get(project=org.fraud, user=org.vic).role == "qa-engineer"
    assert not Membership.objects.filter(project=org.fraud, role=Role.OWNER).exclude(user=org.omar).exists()


def test_a_product_manager_asks_and_a_developer_preset_does_not_decide(org: Org) -> None:
    as_member(org, "product-manager")
    made = make_request(org.cy, project="fraud-detection")
    assert made.state == "submitted" and not can(Principal.of(org.cy), "decide", made)


def test_pages_show_and_change(org: Org, client_for: Any) -> None:
    page = client_for(org.vic).get("/presets/qa-engineer/")
    assert page.status_code == 200 and b"disabled" in page.content
    form = {"name": "QA", "description": "Tests.", "permissions": ["endpoints.endpoint.view"]}
    assert client_for(org.vic).post("/presets/qa-engineer/", form).status_code == 403
    assert client_for(org.pat).post("/presets/qa-engineer/", form).status_code == 302
    assert Preset.objects.get(slug="qa-engineer").granted == {"endpoints.endpoint.view"}
    wrong = client_for(org.pat).post("/presets/qa-engineer/", form | {"permissions": ["x.y.z"], "name": "Kept text"})
    assert wrong.status_code == 422 and b"Kept text" in wrong.content
    assert client_for(org.pat).post("/presets/qa-engineer/restore/").status_code == 302
    assert "endpoints.endpoint.retry" in Preset.objects.get(slug="qa-engineer").granted
    new = {"slug": "steward", "name": "Steward", "description": "", "where": "platform", "permissions": []}
    assert client_for(org.yasmine).post("/presets/new/", new).status_code == 302
    assert Group.objects.filter(name="steward").exists()
    taken = client_for(org.yasmine).post("/presets/new/", new)
    assert taken.status_code == 409 and b"already" in taken.content
    assert client_for(org.yasmine).post("/presets/steward/delete/").status_code == 302
