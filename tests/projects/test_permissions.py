"""Two questions, one owner: `can` and `visible` agree, and whatever is not registered is denied."""

import itertools

import pytest

from portal.errors import Forbidden, InsufficientScope, NotFound
from projects import permissions
from projects.models import ApiKey, Epoch, Membership, Project, User
from projects.permissions import can, require, require_scope, visible
from projects.principal import ANONYMOUS, Principal
from tests.conftest import Org

PEOPLE = ("dana", "omar", "vic", "pat", "ravi", "yasmine", "aud", "cy")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("view", {"dana", "omar", "vic", "pat", "ravi", "yasmine", "aud"}),
        ("request", {"dana", "omar"}),
        ("manage_members", {"omar", "pat", "ravi"}),
        ("fly", set()),
    ],
)
def test_can_on_a_project(org: Org, action: str, allowed: set[str]) -> None:
    assert {name for name in PEOPLE if can(Principal.of(getattr(org, name)), action, org.fraud)} == allowed
    assert not can(ANONYMOUS, action, org.fraud)


@pytest.mark.django_db
def test_visible_equals_can(org: Org) -> None:
    for name, action in itertools.product(PEOPLE, ("view", "request", "manage_members", "change")):
        principal = Principal.of(getattr(org, name))
        listed = set(visible(principal, Project.objects.all(), action))
        assert listed == {project for project in (org.fraud, org.search) if can(principal, action, project)}, (
            name,
            action,
        )


@pytest.mark.django_db
def test_unregistered_models_and_superusers_get_nothing(org: Org) -> None:
    root = User.objects.create_superuser("root", password="x")
    assert not can(Principal.of(root), "view", Epoch(name="x"))
    assert not can(Principal.of(root), "view", org.fraud)
    assert not visible(Principal.of(root), Epoch.objects.all()).exists()
    assert not visible(Principal.of(root), Project.objects.all()).exists()


@pytest.mark.django_db
def test_an_inactive_person_is_a_stranger(org: Org) -> None:
    org.omar.is_active = False
    assert not can(Principal.of(org.omar), "view", org.fraud)
    assert not visible(Principal.of(org.omar), Project.objects.all()).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("person", ["omar", "pat"])
def test_a_credential_bound_to_a_project_is_a_stranger_elsewhere(org: Org, person: str) -> None:
    bound = Principal.of(getattr(org, person), via="token", scopes=frozenset(), project_id=org.search.pk)
    assert not can(bound, "view", org.fraud)
    assert org.fraud not in visible(bound, Project.objects.all())


@pytest.mark.django_db
def test_stranger_404_reader_403_with_the_role_that_would_do(org: Org) -> None:
    with pytest.raises(NotFound):
        require(Principal.of(org.cy), "manage_members", org.fraud)
    with pytest.raises(Forbidden) as error:
        require(Principal.of(org.vic), "manage_members", org.fraud)
    assert "owner" in error.value.sentence and "platform engineer" in error.value.sentence


@pytest.mark.django_db
def test_scope_limits_tokens_and_not_sessions(org: Org) -> None:
    require_scope(Principal.of(org.dana), "admin")
    with pytest.raises(InsufficientScope):
        require_scope(Principal.of(org.dana, scopes=frozenset({"catalog:read"})), "catalog:write")


@pytest.mark.django_db
def test_visible_costs_one_query_whatever_the_size(org: Org, django_assert_num_queries) -> None:
    for number in range(20):
        project = Project.objects.create(slug=f"p-{number}", name="P")
        Membership.objects.create(project=project, user=org.cy, role="viewer")
    principal = Principal.of(org.cy)
    with django_assert_num_queries(1):
        assert len(visible(principal, Project.objects.all())) == 21


def test_every_rule_says_who_may_view() -> None:
    assert all("view" in rule.actions for rule in permissions.rules().values())
    with pytest.raises(ValueError, match="already"):
        permissions.register(permissions.Rule(ApiKey, "project_id", {"view": frozenset()}))
