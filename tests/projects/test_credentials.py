"""Every bearer secret that opens nothing: one answer for the caller, a reason for the log, the same work for all."""

import datetime as dt
import logging
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.models import Token
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.api import api
from projects import keys, tokens
from projects.models import ApiKey, Membership, User
from projects.oauth import applications
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.projects.oauth_kit import by_credentials, me, register

pytestmark = pytest.mark.slow


def host_token(user: User, *scopes: str, project: Any = None, hours: int = 1) -> str:
    return tokens.create(user, scopes=scopes or ("catalog:read",), project=project, ttl=dt.timedelta(hours=hours))


def spoiled(org: Org, reason: str) -> str:
    """A secret that is refused for `reason`."""
    key, secret = keys.issue(Principal.of(org.dana), project=org.fraud, name="k", scopes=["usage:read"])
    token = host_token(org.dana)
    if reason == "malformed":
        return "x" * 5000
    if reason == "unknown":
        return "gtt_" + "a" * 43
    if reason == "bad_checksum":
        return secret[:-1] + ("a" if secret[-1] != "a" else "b")
    if reason == "expired":
        Token.objects.update(expires_at=timezone.now())
    if reason == "key_expired":
        ApiKey.objects.update(expires_at=timezone.now())
    if reason == "key_revoked":
        keys.revoke(Principal.of(org.dana), key)
    if reason == "inactive_person":
        User.objects.filter(pk=org.dana.pk).update(is_active=False)
    if reason == "not_a_member":
        Membership.objects.filter(user=org.dana).delete()
    if reason == "scope_too_old":
        token = host_token(org.dana, "approvals:decide")
        old = timezone.now() - dt.timedelta(minutes=61)
        Token.objects.update(created_at=old, expires_at=timezone.now() + dt.timedelta(days=9))
    if reason == "inactive_application":
        made, made_secret = register(org.omar, org.fraud)
        token = by_credentials(made, made_secret).json()["access_token"]
        User.objects.filter(pk=org.omar.pk).update(is_active=False)
    return secret if reason in {"key_expired", "key_revoked", "not_a_member"} else token


REASONS = (
    "malformed", "unknown", "bad_checksum", "expired", "key_expired", "key_revoked", "inactive_person", "not_a_member",
    "scope_too_old", "inactive_application",
)  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_the_log_knows_why_and_the_caller_does_not(org: Org, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    secret = spoiled(org, reason)
    with caplog.at_level(logging.WARNING):
        answer = me(secret)
    assert f"auth.refused reason={reason} " in caplog.text
    assert secret not in caplog.text and secret[-20:] not in caplog.text
    assert answer.status_code == 401
    body = answer.json()
    body.pop("request_id", None)
    unknown = me("gtt_nothing").json()
    unknown.pop("request_id", None)
    assert body == unknown
    assert answer["WWW-Authenticate"] == 'Bearer realm="gatehouse", error="invalid_token"'
    assert set(answer.headers) == set(me("gtt_nothing").headers)


@pytest.mark.parametrize("reason", [name for name in REASONS if name not in {"malformed", "not_a_member"}])
def test_every_refusal_costs_one_look_up(org: Org, reason: str) -> None:
    """So that time tells nothing of which secrets once were good."""
    secret = spoiled(org, reason)
    with CaptureQueriesContext(connection) as queries:
        assert me(secret).status_code == 401
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_a_token_that_holds_costs_two_queries(org: Org) -> None:
    made, secret = register(org.omar, org.fraud)
    for good in (host_token(org.dana), by_credentials(made, secret).json()["access_token"]):
        calls = ApiClient(good)
        calls.get("/me")  # the first of a minute writes down that it was used
        with CaptureQueriesContext(connection) as queries:
            calls.get("/openapi.json")
            from_here = len(queries)
            calls.get("/me")
        read = [query["sql"] for query in queries][from_here:]
        assert len([sql for sql in read if "idp_oidc" in sql.lower() or "membership" in sql.lower()]) <= 3, read


def test_nothing_sent_is_no_error_of_a_token(org: Org, client_for: Any) -> None:
    answer = client_for(None).get("/api/v1/me")
    assert answer.status_code == 401 and answer["WWW-Authenticate"] == 'Bearer realm="gatehouse"'


def test_a_missing_scope_is_named(org: Org) -> None:
    answer = ApiClient(host_token(org.dana)).get("/usage")
    assert answer.status_code == 403 and answer.json()["code"] == "insufficient_scope"
    assert answer["WWW-Authenticate"] == ('Bearer realm="gatehouse", error="insufficient_scope", scope="usage:read"')


def test_a_deciding_token_dies_within_the_hour(org: Org) -> None:
    secret = host_token(org.pat, "approvals:decide")
    assert me(secret).json()["credential"]["second_factor"] == "host"
    Token.objects.update(expires_at=timezone.now() + dt.timedelta(days=30))
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=59)):
        assert me(secret).status_code == 200
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=61)):
        assert me(secret).status_code == 401


def test_what_comes_with_a_token_of_one_project_is_a_stranger_in_the_other(org: Org) -> None:
    """Over every operation of the document: whatever names a project answers as if there were none."""
    org.search.memberships.create(user=org.dana, role="owner")
    made, secret = register(org.omar, org.fraud, scopes=["requests:read", "catalog:read", "endpoints:write"])
    account = made.account
    assert account is not None
    org.search.memberships.create(user=account, role="owner")
    bound = {
        "token": host_token(org.dana, "admin", "endpoints:read", "endpoints:write", "usage:read", project=org.fraud),
        "application": by_credentials(made, secret).json()["access_token"],
    }
    seen = 0
    for path, methods in api.get_openapi_schema()["paths"].items():
        if "/projects/{slug}" not in path:
            continue
        where = path.replace("{slug}", "search-ranking").replace("{user}", "dana")
        for name in ("key_id", "application_id"):
            where = where.replace(f"{{{name}}}", "11111111-1111-4111-8111-111111111111")
        if "{" in where:
            continue
        for method, (name, token) in ((method, pair) for method in methods for pair in bound.items()):
            answer = getattr(ApiClient(token), method)(where, {}, If_Match="*")
            seen += 1
            assert answer.status_code in {403, 404, 422}, (name, method, where, answer.status_code)
            if answer.status_code == 403:
                assert answer.json()["code"] == "insufficient_scope", (name, method, where)
            assert b"Search ranking" not in answer.content
    assert seen > 20


def test_an_ended_application_is_out(org: Org) -> None:
    made, secret = register(org.omar, org.fraud)
    token = by_credentials(made, secret).json()["access_token"]
    applications.end(Principal.of(org.omar), made)
    assert me(token).status_code == 401
