"""Group mappings: who may keep them, what they refuse, and what goes with them."""

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group

from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid
from portal.sso import Provider
from projects.models import GroupMapping, Membership
from projects.principal import Principal
from projects.sso import groups, mappings
from tests.conftest import Org

pytestmark = pytest.mark.slow
PAGE = "/access/mappings/"
PROVIDER = Provider(
    "https://sso.example", "gatehouse", "secret", groups=(("ml-platform", "platform-engineers"), ("old", "no-such"))
)


@pytest.fixture(autouse=True)
def _sso(settings: Any) -> None:
    settings.SSO = PROVIDER


@pytest.fixture
def pat(org: Org) -> Principal:
    return Principal.of(org.pat)


def test_create_writes_a_row(org: Org, pat: Principal) -> None:
    row = mappings.create(pat, group=" fraud-team ", project="fraud-detection", role="developer")
    assert (row.group, row.project, row.role, row.managed, row.created_by) == (
        "fraud-team", org.fraud, "developer", True, org.pat
    )  # fmt: skip
    into = mappings.create(pat, group="fraud-team", into="auditors", managed=False)
    assert into.into is not None and not into.managed
    assert [one.words for one in mappings.known()][2:] == ["developer of fraud-detection", "auditor"]
    written = Row.objects.filter(action="sso.create_mapping").order_by("id")
    assert [one.project for one in written] == ["fraud-detection", ""]


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"group": ""}, "group"), ({"group": "x" * 201}, "group"), ({"group": "a\nb"}, "group"),
        ({"group": "a\0"}, "group"), ({"into": "no-such"}, "into"), ({"project": "no-such"}, "project"),
        ({"role": "king"}, "role"), ({"role": ""}, "role"), ({"project": "", "role": "owner"}, "project"),
        ({"into": "auditors"}, "into"), ({"project": "", "role": ""}, "into"),
    ],
)  # fmt: skip
def test_create_refuses(org: Org, pat: Principal, fields: dict[str, str], at: str) -> None:
    good: dict[str, Any] = {"group": "g", "project": "fraud-detection", "role": "viewer"}
    with pytest.raises(Invalid) as caught:
        mappings.create(pat, **{**good, **fields})
    assert set(caught.value.fields) == {at}
    assert not GroupMapping.objects.exists()


def test_one_mapping_for_each_place(org: Org, pat: Principal) -> None:
    mappings.create(pat, group="g", project="fraud-detection", role="viewer")
    mappings.create(pat, group="g", project="search-ranking", role="viewer")
    mappings.create(pat, group="g", into="auditors")
    places: list[dict[str, Any]] = [{"project": "fraud-detection", "role": "owner"}, {"into": "auditors"}]
    for fields in places:
        with pytest.raises(Conflict):
            mappings.create(pat, group="g", **fields)


def test_only_engineers_change(org: Org, pat: Principal) -> None:
    row = mappings.create(pat, group="g", into="auditors")
    for person in (org.yasmine, org.aud, org.omar):
        who = Principal.of(person)
        with pytest.raises(Forbidden):
            mappings.create(who, group="h", into="platform-engineers")
    for person in (org.yasmine, org.aud):
        with pytest.raises(Forbidden):
            mappings.set_managed(Principal.of(person), row, False)
        with pytest.raises(Forbidden):
            mappings.delete(Principal.of(person), row)
    bound = Principal.of(org.pat, project_id=org.fraud.pk)
    with pytest.raises(Forbidden):
        mappings.create(bound, group="h", into="platform-engineers")


def test_managed_can_be_changed_once(org: Org, pat: Principal) -> None:
    row = mappings.create(pat, group="g", into="auditors")
    mappings.set_managed(pat, row, False)
    mappings.set_managed(pat, row, False)
    assert Row.objects.filter(action="sso.change_mapping").count() == 1
    row.refresh_from_db()
    assert not row.managed


def test_the_last_mapping_takes_what_it_gave(org: Org, pat: Principal) -> None:
    first = mappings.create(pat, group="g", project="fraud-detection", role="owner")
    second = mappings.create(pat, group="h", project="fraud-detection", role="viewer")
    groups.sync(org.cy, {"g"})
    groups.sync(org.vic, {"g"})  # viewer by hand before
    assert (mappings.loses(first), mappings.loses(second)) == (0, 0)  # the other one decides at the next sign-in
    mappings.delete(pat, second)
    assert mappings.loses(first) == 2
    mappings.delete(pat, first)
    assert not Membership.objects.filter(user=org.cy, project=org.fraud).exists()
    assert Membership.objects.get(user=org.vic).role == "viewer"
    assert Membership.objects.get(user=org.dana).role == "developer"
    assert '"people":2' in Row.objects.filter(action="sso.delete_mapping").latest("id").before
    mappings.delete(pat, first)  # twice does nothing more
    assert Row.objects.filter(action="sso.delete_mapping").count() == 2


def test_the_last_mapping_of_a_platform_group_takes_it_from_people_of_the_provider(org: Org, pat: Principal) -> None:
    row = mappings.create(pat, group="g", into="auditors")
    SocialAccount.objects.create(user=org.cy, provider="keycloak", uid="sub-cy")
    groups.sync(org.cy, {"g"})
    mappings.delete(pat, row)
    assert not org.cy.groups.exists() and org.aud.groups.get().name == "auditors"


def test_deleting_a_group_or_project_deletes_its_mapping(org: Org, pat: Principal) -> None:
    group = Group.objects.create(name="risk-analysts")
    mappings.create(pat, group="g", into="risk-analysts")
    group.delete()
    assert not GroupMapping.objects.exists()


def test_page_shows_settings_and_rows(org: Org, pat: Principal, client_for: Any) -> None:
    mappings.create(pat, group="<b>team</b>", project="fraud-detection", role="developer")
    text = client_for(org.pat).get(PAGE).content.decode()
    for words in (
        "from settings",
        "ml-platform",
        "&lt;b&gt;team&lt;/b&gt;",
        "there is no group no-such",
        "Add the mapping",
    ):
        assert words in text, words
    reader = client_for(org.aud).get(PAGE).content.decode()
    assert "&lt;b&gt;team" in reader and "Add the mapping" not in reader and "Only give" not in reader


def test_page_adds_changes_and_deletes(org: Org, client_for: Any) -> None:
    client = client_for(org.pat)
    form = {"group": "g", "project": "fraud-detection", "role": "viewer", "into": "", "managed": "on"}
    assert client.post(PAGE, form).status_code == 302
    row = GroupMapping.objects.get()
    assert client.post(f"{PAGE}{row.pk}/change/").status_code == 302
    row.refresh_from_db()
    assert not row.managed
    client.post(f"{PAGE}{row.pk}/change/", {"managed": "on"})
    groups.sync(org.cy, {"g"})
    page = client.get(f"{PAGE}{row.pk}/delete/").content.decode()
    assert "<strong>1</strong> people hold it" in page
    assert client.post(f"{PAGE}{row.pk}/delete/", {"confirm": "x"}).status_code == 422
    assert client.post(f"{PAGE}{row.pk}/delete/", {"confirm": "g"}).status_code == 302
    assert not GroupMapping.objects.exists()
    assert not Membership.objects.filter(user=org.cy, project=org.fraud).exists()


def test_page_says_at_the_field_what_is_wrong(org: Org, client_for: Any) -> None:
    answer = client_for(org.pat).post(PAGE, {"group": "g", "project": "no-such", "role": "viewer"})
    text = answer.content.decode()
    assert answer.status_code == 422 and 'id="id_project_help"' in text and "no-such" in text
    assert 'value="g"' in text  # nothing typed is lost
    client_for(org.pat).post(PAGE, {"group": "g", "into": "auditors"})
    assert client_for(org.pat).post(PAGE, {"group": "g", "into": "auditors"}).status_code == 409


def test_page_asks_a_constant_number_of_queries(
    org: Org, pat: Principal, client_for: Any, django_assert_max_num_queries: Any
) -> None:
    client = client_for(org.pat)
    client.get(PAGE)
    for number in range(30):
        mappings.create(pat, group=f"g{number}", project="fraud-detection", role="viewer")
    with django_assert_max_num_queries(15):
        client.get(PAGE)


def test_api(org: Org, api_for: Any) -> None:
    api = api_for(org.pat, "admin")
    made = api.post("/sso/mappings", {"group": "g", "project": "fraud-detection", "role": "viewer", "managed": False})
    assert made.status_code == 201
    body = made.json()
    assert (body["group"], body["project"], body["managed"], body["from_settings"]) == (
        "g",
        "fraud-detection",
        False,
        False,
    )
    items = api.get("/sso/mappings").json()["items"]
    assert [(one["group"], one["from_settings"], bool(one["broken"])) for one in items] == [
        ("ml-platform", True, False), ("old", True, True), ("g", False, False)
    ]  # fmt: skip
    assert api.post("/sso/mappings", {"group": "g"}).status_code == 422
    assert api.post("/sso/mappings", {"group": "g", "x": 1}).status_code == 422
    assert api.delete(f"/sso/mappings/{body['id']}").status_code == 204
    for path in (body["id"], 987654, 10**30):
        assert api.delete(f"/sso/mappings/{path}").status_code == 404
