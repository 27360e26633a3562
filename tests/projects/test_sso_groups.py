"""From groups to roles: the claim in every bad shape, and what a person holds after any row of sign-ins."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from hypothesis import HealthCheck, given
from hypothesis import settings as rounds
from hypothesis import strategies as some
from hypothesis.extra.django import TestCase

from audit.models import Row
from portal.sso import Provider
from projects import epoch
from projects.models import GroupMapping, Membership, Notification, Preset, Project, User, Where
from projects.sso import groups, mappings
from tests.conftest import Org

pytestmark = pytest.mark.slow
PROVIDER = Provider("https://sso.example", "gatehouse", "secret")


@pytest.fixture(autouse=True)
def _sso(settings: Any) -> None:
    settings.SSO = PROVIDER


def provider(*pairs: tuple[str, str], claim: str = "groups") -> Provider:
    return Provider("https://sso.example", "gatehouse", "secret", groups=pairs, groups_claim=claim)


def lead(
    group: str, project: Project | None = None, role: str = "", into: str = "", managed: bool = True
) -> GroupMapping:
    target = Group.objects.get_or_create(name=into)[0] if into else None
    return GroupMapping.objects.create(group=group, project=project, role=role, into=target, managed=managed)


@pytest.mark.parametrize(
    ("claim", "names", "reason"),
    [
        (["a", "b", "a"], {"a", "b"}, ""), ([], set(), ""), (["/a/b", "a b", "ä"], {"/a/b", "a b", "ä"}, ""),
        ("a", set(), "groups_not_a_list"), ({"a": 1}, set(), "groups_not_a_list"), (7, set(), "groups_not_a_list"),
        (True, set(), "groups_not_a_list"), (None, set(), "groups_missing"),
        ([["a"], ["b"]], set(), "groups_not_names"), (["a", 7, None, {"b": 1}], {"a"}, "groups_not_names"),
        (["a\0", "a\n", "\ud800", "", "x" * 201, "\x1b[31m"], set(), ""), (["x" * 200], {"x" * 200}, ""),
    ],
)  # fmt: skip
def test_claims_of_every_shape(
    db: None, claim: Any, names: set[str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = groups.read({"userinfo": {"groups": claim}})
    assert (set(found.names), found.reason) == (names, reason)
    assert (f"reason={reason}" in caplog.text) == bool(reason)


@pytest.mark.parametrize("data", [None, [], "x", 7, {}, {"userinfo": None}, {"userinfo": []}, {"id_token": "x"}])
def test_no_claim_at_all(db: None, data: Any) -> None:
    found = groups.read(data)
    assert (found.names, found.reason, found.present) == (frozenset(), "groups_missing", False)


def test_huge_claims_keep_what_is_mapped(org: Org, settings: Any) -> None:
    lead("zz-fraud", org.fraud, "viewer")
    huge = [f"g{number}" for number in range(50_000)] + ["zz-fraud"]
    found = groups.read({"userinfo": {"groups": huge}})
    assert (set(found.names), found.reason) == ({"zz-fraud"}, "groups_huge")


def test_where_the_claim_is_looked_for(db: None, settings: Any) -> None:
    assert groups.read({"userinfo": {"groups": ["u"]}, "id_token": {"groups": ["i"]}}).names == {"u"}
    assert groups.read({"userinfo": {}, "id_token": {"groups": ["i"]}}).names == {"i"}
    assert groups.read({"groups": ["root"]}).names == {"root"}
    settings.SSO = provider(claim="realm_access.roles")
    assert groups.read({"userinfo": {"realm_access": {"roles": ["r"]}}}).names == {"r"}
    assert groups.read({"userinfo": {"realm_access": ["roles"]}}).reason == "groups_missing"
    settings.SSO = provider(claim="https://example.com/groups")
    assert groups.read({"userinfo": {"https://example.com/groups": ["d"]}}).names == {"d"}
    settings.SSO = provider(claim="resource_access.my.app.roles")
    assert groups.read({"id_token": {"resource_access": {"my.app": {"roles": ["c"]}}}}).names == {"c"}


def test_a_mapped_role_comes_and_goes(org: Org) -> None:
    lead("fraud", org.fraud, "developer")
    before = epoch.current()
    assert groups.sync(org.cy, {"fraud"})
    member = Membership.objects.get(user=org.cy, project=org.fraud)
    assert (member.role, member.source, member.by_hand) == ("developer", "sso", "")
    assert epoch.current() > before
    row = Row.objects.latest("id")
    assert (row.action, row.actor, row.project) == ("projects.add_member", "system:sso", "fraud-detection")
    assert groups.sync(org.cy, set())
    assert not Membership.objects.filter(user=org.cy, project=org.fraud).exists()
    assert Membership.objects.get(user=org.cy).role == "owner"  # of the other project, given by hand
    assert Row.objects.latest("id").action == "projects.remove_member"


def test_the_same_groups_write_nothing(org: Org, django_assert_max_num_queries: Any) -> None:
    lead("fraud", org.fraud, "developer")
    lead("eng", into="platform-engineers")
    groups.sync(org.cy, {"fraud", "eng"})
    rows, moved = Row.objects.count(), epoch.current()
    with django_assert_max_num_queries(8) as asked:
        assert not groups.sync(org.cy, {"fraud", "eng"})
    assert not [query for query in asked.captured_queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert (Row.objects.count(), epoch.current()) == (rows, moved)


def test_a_role_given_by_hand_returns(org: Org) -> None:
    lead("fraud", org.fraud, "owner")
    groups.sync(org.vic, {"fraud"})
    member = Membership.objects.get(user=org.vic)
    assert (member.role, member.source, member.by_hand) == ("owner", "sso", "viewer")
    groups.sync(org.vic, set())
    member.refresh_from_db()
    assert (member.role, member.source, member.by_hand) == ("viewer", "hand", "")


def test_a_higher_role_given_by_hand_stays(org: Org) -> None:
    lead("fraud", org.fraud, "viewer")
    assert not groups.sync(org.dana, {"fraud"})
    member = Membership.objects.get(user=org.dana)
    assert (member.role, member.source) == ("developer", "hand")


def test_the_highest_role_wins(org: Org) -> None:
    Preset.objects.get_or_create(slug="qa-engineer", defaults={"name": "QA", "where": Where.PROJECT})
    for role in ("viewer", "qa-engineer", "developer", "owner"):
        lead(role, org.fraud, role)
    held = []
    for names in (
        {"viewer"},
        {"viewer", "qa-engineer"},
        {"developer", "qa-engineer"},
        {"owner", "developer"},
        {"viewer"},
    ):
        groups.sync(org.cy, names)
        held.append(Membership.objects.get(user=org.cy, project=org.fraud).role)
    assert held == ["viewer", "qa-engineer", "developer", "owner", "viewer"]


def test_managed_platform_groups_are_authoritative(org: Org) -> None:
    lead("eng", into="platform-engineers")
    assert groups.sync(org.pat, set())  # put there by hand, and the provider has the last word
    assert not org.pat.groups.exists()
    assert Row.objects.filter(action="people.leave_group").exists()
    assert groups.sync(org.pat, {"eng"})
    assert org.pat.groups.get().name == "platform-engineers"
    assert not groups.sync(org.yasmine, set())  # nothing leads to governance leads


def test_what_only_adds_never_takes(org: Org) -> None:
    lead("fraud", org.fraud, "developer", managed=False)
    lead("aud", into="auditors", managed=False)
    groups.sync(org.cy, {"fraud", "aud"})
    assert not groups.sync(org.cy, set())
    member = Membership.objects.get(user=org.cy, project=org.fraud)
    assert (member.role, member.source) == ("developer", "hand")
    assert org.cy.groups.get().name == "auditors"
    assert not groups.sync(org.omar, {"fraud"})  # and never lowers


def test_mappings_of_the_settings(org: Org, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.SSO = provider(
        ("eng", "platform-engineers"), ("fraud", "fraud-detection:developer"), ("x", "no-such"), ("y", "no-such:owner"),
        ("z", "fraud-detection:king"),
    )  # fmt: skip
    assert groups.sync(org.cy, {"eng", "fraud", "x", "y", "z"})
    assert org.cy.groups.get().name == "platform-engineers"
    assert set(Membership.objects.filter(user=org.cy).values_list("project__slug", "role")) == {
        ("fraud-detection", "developer"), ("search-ranking", "owner")
    }  # fmt: skip
    assert [one.broken for one in mappings.known()][2:] == [
        "there is no group no-such in the portal", "there is no project no-such", "there is no role king in projects",
    ]  # fmt: skip
    assert not groups.leads_somewhere({"x", "y", "z"}) and groups.leads_somewhere({"eng"})
    settings.SSO = PROVIDER  # the mapping is gone: so is what it gave in projects
    groups.sync(org.cy, {"fraud"})
    assert not Membership.objects.filter(user=org.cy, project=org.fraud).exists()


def test_the_last_owner_may_go_and_engineers_are_told(org: Org) -> None:
    lead("fraud-owners", org.fraud, "owner")
    Membership.objects.filter(user=org.omar).delete()
    groups.sync(org.omar, {"fraud-owners"})
    groups.sync(org.omar, set())
    assert not Membership.objects.filter(project=org.fraud, role="owner").exists()
    told = Notification.objects.filter(kind="project.ownerless")
    assert {one.person for one in told} == {org.pat, org.ravi}


def test_group_names_never_become_anything_by_themselves(org: Org) -> None:
    """Groups are text of strangers: only the table says what they mean."""
    names = {"platform-engineers", "fraud-detection:owner", "owner", "unsafe;group", "' OR 1=1 --"}
    assert not groups.sync(org.cy, names)
    assert not org.cy.groups.exists()


NAMES = some.sets(some.sampled_from(["g1", "g2", "g3", "g4"]))
TARGETS = some.lists(
    some.tuples(
        some.sampled_from(["g1", "g2", "g3", "g4"]),
        some.sampled_from(["platform-engineers", "auditors", "p1:viewer", "p1:owner", "p2:developer", "p2:preset"]),
        some.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: (one[0], one[1].partition(":")[0]),
)


class AnyRow(TestCase):
    """Any mappings, any roles by hand, any row of sign-ins."""

    @rounds(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        targets=TARGETS,
        hand=some.sampled_from(["", "viewer", "developer", "owner"]),
        visits=some.lists(NAMES, max_size=4),
    )
    def test_sync_is_idempotent_and_authoritative(
        self, targets: list[tuple[str, str, bool]], hand: str, visits: list[set[str]]
    ) -> None:
        person = User.objects.create_user("someone")
        projects = {slug: Project.objects.create(slug=slug, name=slug) for slug in ("p1", "p2")}
        Preset.objects.create(slug="preset", name="Preset", where=Where.PROJECT)
        if hand:
            Membership.objects.create(user=person, project=projects["p1"], role=hand)
        for group, target, managed in targets:
            slug, _, role = target.partition(":")
            lead(group, projects.get(slug), role, "" if role else slug, managed)
        given_by_hand = {"p1": hand, "p2": ""}
        for names in visits:
            groups.sync(person, names)
            held = self._held(person)
            assert not groups.sync(person, names)
            assert self._held(person) == held
            for slug in projects:
                mine = [target for target in targets if target[0] in names and target[1].startswith(f"{slug}:")]
                added = [target[1].partition(":")[2] for target in mine if not target[2]]
                given_by_hand[slug] = max([given_by_hand[slug], *added], key=mappings.rank)
                given_by_group = [target[1].partition(":")[2] for target in mine if target[2]]
                best = max([given_by_hand[slug], *given_by_group], key=mappings.rank)
                assert held.get(slug, "") == best
            for group in ("platform-engineers", "auditors"):
                led = [target for target in targets if target[1] == group]
                if any(target[2] for target in led):
                    assert (group in held) == any(target[0] in names for target in led)

    def _held(self, person: User) -> dict[str, str]:
        members = dict(Membership.objects.filter(user=person).values_list("project__slug", "role"))
        return {**members, **dict.fromkeys(person.groups.values_list("name", flat=True), "")}
