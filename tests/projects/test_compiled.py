"""Queries with their SQL made once give what the ordinary ones give, for every value and on every database."""

import datetime as dt

import pytest
from allauth.idp.oidc.models import Token
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from projects import tokens
from projects.compiled import Compiled
from projects.models import ApiKey, Preset, Project, User, Where
from projects.oauth.living import why_ended
from projects.principal import Principal
from projects.signin.backend import SignInBackend
from tests.conftest import Org
from tests.projects.oauth_kit import by_credentials, register


def test_objects_come_back_whole_with_what_is_selected_along(org: Org) -> None:
    secret = tokens.create(org.dana, scopes=["usage:read"], project=org.fraud, ttl=dt.timedelta(hours=1))
    made, word = register(org.omar, org.fraud)
    machine = by_credentials(made, word).json()["access_token"]
    for one in (secret, machine):
        with CaptureQueriesContext(connection) as queries:
            found = tokens.lookup(one)
            assert found is not None
            application = tokens.application_of(found)
            assert application is None or (why_ended(application), application.client.name) == ("", "Pipeline")
            assert found.user is None or found.user.username == "dana"
        assert len(queries) == 1
        usual = Token.objects.get(pk=found.pk)
        for field in Token._meta.concrete_fields:
            assert getattr(found, field.attname) == getattr(usual, field.attname), field
        assert isinstance(found.expires_at, dt.datetime) and isinstance(found.data, dict)
        if application is not None:
            assert application.pk == made.pk and application.ends_at == made.ends_at, "UUIDs and times are converted"
            assert application.account is not None and application.account.is_service is True
    assert tokens.lookup("nothing") is None


def test_principals_hold_what_is_written_now(org: Org) -> None:
    Preset.objects.filter(slug="steward").delete()
    Preset.objects.create(
        slug="steward", name="Steward", where=Where.PROJECT, permissions="projects.project.view\nprojects.apikey.view"
    )
    org.search.memberships.create(user=org.dana, role="steward")
    org.dana.groups.add(Group.objects.get_or_create(name="auditors")[0])
    found = Principal.of(org.dana)
    assert dict(found.roles) == {org.fraud.pk: "developer", org.search.pk: "steward"}
    assert found.groups == {"auditors"}
    assert found.presets[Where.PROJECT]["steward"] == {"projects.project.view", "projects.apikey.view"}
    org.search.memberships.filter(user=org.dana).delete()
    org.dana.groups.clear()
    again = Principal.of(org.dana)
    assert dict(again.roles) == {org.fraud.pk: "developer"} and not again.groups
    assert Principal.of(org.pat).groups == {"platform-engineers"} and not Principal.of(org.pat).roles


def test_a_query_that_ignores_its_value_is_refused(db: None) -> None:
    with pytest.raises(LookupError):
        Compiled(lambda value: Project.objects.all(), "value").rows("x")
    with pytest.raises(LookupError):
        Compiled(lambda name, at: User.objects.filter(username=name), "marker", 2).rows("x", 3)


def test_each_of_several_values_has_its_place(org: Org) -> None:
    now, marker = timezone.now(), dt.datetime(1, 2, 3, tzinfo=dt.UTC)
    joined = User.objects.values_list("username")
    asked = Compiled(lambda name, at: joined.filter(username=name, date_joined__lte=at), "marker", marker)
    assert asked.rows("dana", now) == [("dana",)] and asked.rows("omar", now) == [("omar",)]
    assert asked.rows("dana", now - dt.timedelta(days=9)) == []


def test_values_never_become_sql(org: Org) -> None:
    asked = Compiled(lambda name: User.objects.filter(username=name).values_list("username", "date_joined"), "marker")
    assert asked.rows("' OR 1=1 --") == []
    rows = asked.rows("dana")
    assert [name for name, _ in rows] == ["dana"] and rows[0][1] <= timezone.now()
    assert (
        Compiled(lambda name: ApiKey.objects.filter(hash=name), "marker").first("x'; DROP TABLE projects_user") is None
    )


def test_the_person_of_a_session_is_read_with_what_they_hold(org: Org) -> None:
    """In one query, every column as it is read usually; what was read along is used once."""
    with CaptureQueriesContext(connection) as queries:
        found = SignInBackend().get_user(org.dana.pk)
        assert found is not None
        principal = Principal.of(found)
    assert len(queries) == 1
    assert dict(principal.roles) == {org.fraud.pk: "developer"} and not principal.groups
    usual = User.objects.get(pk=org.dana.pk)
    for field in User._meta.concrete_fields:
        assert getattr(found, field.attname) == getattr(usual, field.attname), field
    org.fraud.memberships.filter(user=org.dana).update(role="viewer")
    assert dict(Principal.of(found).roles) == {org.fraud.pk: "viewer"}
    User.objects.filter(pk=org.dana.pk).update(is_active=False)
    assert SignInBackend().get_user(org.dana.pk) is None
    bare = User.objects.create_user(username="bare")
    assert SignInBackend().get_user(bare.pk) == bare and SignInBackend().get_user(987_654) is None


def test_lenders_are_read_with_what_they_hold(org: Org) -> None:
    org.omar.groups.add(Group.objects.get(name="auditors"))
    bare = User.objects.create_user(username="bare")
    people = User.objects.filter(pk__in=[org.omar.pk, org.pat.pk, bare.pk])
    with CaptureQueriesContext(connection) as queries:
        found = Principal.holders(people)
    assert len(queries) == 1
    assert found == [Principal.of(one) for one in (org.omar, org.pat)]
