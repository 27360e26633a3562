"""Client credentials, introspection, revocation, discovery: what programs ask without a person."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.models import Client as OAuthClient
from allauth.idp.oidc.models import Token
from django.conf import settings
from django.test import Client
from django.utils import timezone

from projects.models import Application, Membership, User
from projects.oauth import applications
from projects.permissions import SCOPES, SHORT_LIVED
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.projects.oauth_kit import by_code, by_credentials, me, post, register, register_public

pytestmark = pytest.mark.slow

INTROSPECT, REVOKE = "/identity/o/api/introspect", "/identity/o/api/revoke"


@pytest.fixture
def pipeline(org: Org) -> tuple[Application, str]:
    return register(org.omar, org.fraud)


def test_an_application_acts_as_its_service_account_in_its_project(org: Org, pipeline: tuple[Application, str]) -> None:
    body = by_credentials(*pipeline).json()
    assert "refresh_token" not in body and set(body["scope"].split()) == {"requests:read", "catalog:read"}
    said = me(body["access_token"]).json()
    assert said["principal"] == {"user": "svc-pipeline", "name": "Pipeline", "service": True, "via": "token"}
    assert said["projects"] == [{"slug": "fraud-detection", "name": "Fraud detection", "role": "developer"}]
    assert said["credential"]["application"]["id"] == str(pipeline[0].pk)
    api = ApiClient(body["access_token"])
    assert api.get("/projects/search-ranking").status_code == 404
    assert api.get("/usage").json()["code"] == "insufficient_scope"
    members = api.get("/projects/fraud-detection/members").json()["items"]
    assert {one["user"]: one["service"] for one in members}["svc-pipeline"] is True


def test_a_scope_can_be_narrowed_and_never_widened(pipeline: tuple[Application, str]) -> None:
    assert by_credentials(*pipeline, scope="requests:read").json()["scope"] == "requests:read"
    for scope in ("usage:read", "admin", "requests:read approvals:decide", "openid", "fly"):
        assert by_credentials(*pipeline, scope=scope).json()["error"] == "invalid_scope", scope


def test_nothing_that_decides_goes_to_a_program(org: Org, pipeline: tuple[Application, str]) -> None:
    """Not even when the row in the database says so."""
    OAuthClient.objects.filter(pk=pipeline[0].client_id).update(scopes="\n".join(SCOPES), default_scopes="")
    for scope in SHORT_LIVED:
        assert by_credentials(*pipeline, scope=scope).json()["error"] == "invalid_scope", scope
    assert by_credentials(*pipeline).json()["error"] == "invalid_scope"


@pytest.mark.parametrize("how", ["ended", "past its end", "owner left", "account closed", "membership taken"])
def test_who_is_out_is_out_everywhere_at_once(org: Org, pipeline: tuple[Application, str], how: str) -> None:
    application, secret = pipeline
    token = by_credentials(application, secret).json()["access_token"]
    assert me(token).status_code == 200
    if how == "ended":
        applications.end(Principal.of(org.omar), application)
    elif how == "past its end":
        Application.objects.filter(pk=application.pk).update(ends_at=timezone.now())
    elif how == "owner left":
        User.objects.filter(pk=org.omar.pk).update(is_active=False)
    elif how == "account closed":
        User.objects.filter(username="svc-pipeline").update(is_active=False)
    else:
        Membership.objects.filter(user__username="svc-pipeline").delete()
    assert me(token).status_code == 401
    if how == "membership taken":
        return
    assert by_credentials(application, secret).json()["error"] == "invalid_client"
    asked = post(INTROSPECT, (application.client_id, secret), token=token)
    assert (asked.status_code, asked.json()["error"]) == (401, "invalid_client")


def test_a_client_without_an_application_gets_nothing(org: Org) -> None:
    """Rows that came by another way than the service are not taken for granted."""
    stray = OAuthClient(pk="stray", name="Stray", type="confidential")
    stray.set_secret("secret")
    stray.set_grant_types(["client_credentials"])
    stray.set_scopes(["requests:read"])
    stray.set_default_scopes(["requests:read"])
    stray.save()
    answer = post("/identity/o/api/token", ("stray", "secret"), grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    token = Token(type="at", client=stray, user=org.dana, expires_at=timezone.now() + dt.timedelta(hours=1))
    token.set_value("stray-token")
    token.set_scopes(["requests:read"])
    token.save()
    assert me("stray-token").status_code == 401


def test_a_rotated_secret_stops_at_once(org: Org, pipeline: tuple[Application, str]) -> None:
    application, old = pipeline
    fresh = applications.rotate(Principal.of(org.omar), application)
    assert fresh.startswith("gts_") and fresh != old
    assert by_credentials(application, old).status_code == 401
    assert by_credentials(application, fresh).status_code == 200


def test_introspection_is_for_ones_own_tokens(org: Org, pipeline: tuple[Application, str]) -> None:
    application, secret = pipeline
    token = by_credentials(application, secret).json()["access_token"]
    said = post(INTROSPECT, (application.client_id, secret), token=token)
    body = said.json()
    assert body["active"] is True and body["username"] == "svc-pipeline" and body["iss"] == settings.BASE_URL
    assert said["Cache-Control"] == "no-store" and body["client_id"] == application.client_id
    other, other_secret = register(org.omar, org.fraud, name="Other")
    assert post(INTROSPECT, (other.client_id, other_secret), token=token).json() == {"active": False}
    assert post(INTROSPECT, (application.client_id, secret), token="unknown").json() == {"active": False}
    assert post(INTROSPECT, (application.client_id, "wrong"), token=token).status_code == 401
    assert post(INTROSPECT, client_id=application.client_id, token=token).status_code == 401


def test_revocation_ends_ones_own_tokens_only(org: Org, pipeline: tuple[Application, str], client_for: Any) -> None:
    application, secret = pipeline
    token = by_credentials(application, secret).json()["access_token"]
    other, other_secret = register(org.omar, org.fraud, name="Other")
    assert post(REVOKE, (other.client_id, other_secret), token=token).status_code == 200
    assert me(token).status_code == 200, "upstream ends the tokens of any client"
    assert post(REVOKE, (application.client_id, "wrong"), token=token).status_code == 401
    hinted = post(REVOKE, (application.client_id, secret), token=token, token_type_hint="refresh_token")
    assert hinted.status_code == 200 and me(token).status_code == 401, "the hint is only a hint"
    assert post(REVOKE, (application.client_id, secret), token="nothing").status_code == 200
    tool = register_public(org.omar, org.fraud)
    given = by_code(client_for(org.dana), tool)
    assert post(REVOKE, client_id=tool.client_id, token=given["refresh_token"]).status_code == 200
    assert me(given["access_token"]).status_code == 401, "a refresh token takes its access tokens along"


def test_discovery_says_what_is_served_under_the_configured_address() -> None:
    answer = Client().get("/.well-known/openid-configuration", headers={"Host": "localhost"})
    body = answer.json()
    assert body["issuer"] == settings.BASE_URL
    assert all(value.startswith(settings.BASE_URL) for name, value in body.items() if name.endswith("_endpoint"))
    assert body["response_types_supported"] == ["code"] and body["code_challenge_methods_supported"] == ["S256"]
    assert set(SCOPES) <= set(body["scopes_supported"]) and "registration_endpoint" not in body
    keys = Client().get("/.well-known/jwks.json").json()["keys"]
    assert keys and all(key["kty"] == "RSA" and "d" not in key for key in keys)


def test_last_use_is_written_once_a_minute(org: Org, pipeline: tuple[Application, str]) -> None:
    application, secret = pipeline
    token = by_credentials(application, secret).json()["access_token"]
    me(token)
    first = Application.objects.get(pk=application.pk).last_used_at
    me(token)
    assert first is not None and Application.objects.get(pk=application.pk).last_used_at == first


def test_scopes_that_were_taken_away_are_gone_from_living_tokens(org: Org, pipeline: tuple[Application, str]) -> None:
    application, secret = pipeline
    token = by_credentials(application, secret).json()["access_token"]
    applications.change(Principal.of(org.omar), application, scopes=["catalog:read"])
    assert me(token).json()["scopes"] == ["catalog:read"]
    assert post(INTROSPECT, (application.client_id, secret), token=token).json()["scope"] == "catalog:read"


def test_tokens_end(org: Org, pipeline: tuple[Application, str]) -> None:
    token = by_credentials(*pipeline).json()["access_token"]
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=3601)):
        assert me(token).status_code == 401


def test_a_bad_request_says_so_in_the_form_of_the_protocol(pipeline: tuple[Application, str]) -> None:
    answer = post("/identity/o/api/token", pipeline and (pipeline[0].client_id, pipeline[1]))
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_request"
    unknown = post("/identity/o/api/token", (pipeline[0].client_id, pipeline[1]), grant_type="password")
    assert unknown.json()["error"] in {"unsupported_grant_type", "unauthorized_client", "invalid_request"}
    assert json.loads(unknown.content) and unknown["Cache-Control"] == "no-store"


def test_the_document_says_where_tokens_come_from_and_which_scope_an_operation_wants() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["Bearer"] == {"type": "http", "scheme": "bearer"}
    flows = schemes["OAuth2"]["flows"]
    assert set(flows) == {"authorizationCode", "clientCredentials"}
    assert flows["clientCredentials"]["tokenUrl"] == f"{settings.BASE_URL}/identity/o/api/token"
    assert set(flows["authorizationCode"]["scopes"]) == set(SCOPES)
    assert not SHORT_LIVED & set(flows["clientCredentials"]["scopes"]), "a program never gets those"
    paths = document["paths"]
    assert paths["/api/v1/usage"]["get"]["security"] == [{"Bearer": []}, {"OAuth2": ["usage:read"]}]
    assert paths["/api/v1/me"]["get"]["security"] == [{"Bearer": []}, {"OAuth2": []}]
