"""Applications: registered with an owner and an end, changed, rotated, ended; and what a person takes back."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.models import Client as OAuthClient
from allauth.idp.oidc.models import Token
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Row
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from projects import keys, tasks
from projects.models import ApiKey, Application, Membership, Notification, User
from projects.oauth import applications
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.projects.oauth_kit import BACK, by_code, by_credentials, me, register, register_public

pytestmark = pytest.mark.slow


def test_it_gets_a_service_account_with_a_role(org: Org) -> None:
    made, secret = register(org.omar, org.fraud, name="Merge checks", role="viewer")
    account = made.account
    assert account is not None and account.username == "svc-merge-checks" and account.is_service
    assert not account.has_usable_password()
    assert Membership.objects.get(user=account).role == "viewer"
    assert secret.startswith("gts_") and OAuthClient.objects.get(pk=made.client_id).check_secret(secret)
    row = Row.objects.get(action="applications.create")
    assert row.project == "fraud-detection" and secret not in row.canonical and "svc-merge-checks" in row.after
    again, _ = register(org.cy, org.search, name="Merge checks")
    assert again.account is not None and again.account.username == "svc-merge-checks-2"


def test_an_application_for_people_has_no_account(org: Org) -> None:
    made = register_public(org.omar, org.fraud)
    assert made.account is None and OAuthClient.objects.get(pk=made.client_id).secret == applications.NO_SECRET
    assert not OAuthClient.objects.get(pk=made.client_id).check_secret("!")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"grants": []}, "grants"),
        ({"grants": ["password"]}, "grants"),
        ({"grants": ["implicit", "code"]}, "grants"),
        ({"kind": "secret"}, "kind"),
        ({"kind": "public"}, "kind"),
        ({"grants": ["device"], "kind": "confidential"}, "kind"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["fly"]}, "scopes"),
        ({"scopes": ["approvals:decide"]}, "scopes"),
        ({"scopes": ["admin", "requests:read"]}, "scopes"),
        ({"scopes": ["openid"]}, "scopes"),
        ({"redirect_uris": [BACK]}, "redirect_uris"),
        ({"owner": "nobody"}, "owner"),
        ({"owner": "cy"}, "owner"),
        ({"ends_on": "soon"}, "ends_on"),
        ({"ends_on": dt.date(1999, 1, 1)}, "ends_on"),
        ({"role": "emperor"}, "role"),
        ({"client_id": "mine"}, "client_id"),
        ({"description": "x" * 301}, "description"),
        ({"grants": ["external"], "client_id": "x"}, ""),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(org: Org, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(GatehouseError) as caught:
        register(org.omar, org.fraud, **fields)
    if field:
        assert isinstance(caught.value, Invalid) and field in caught.value.fields
    assert not Application.objects.exists() and not OAuthClient.objects.exists()
    assert not User.objects.filter(is_service=True).exists()


@pytest.mark.parametrize("days", [0, 366, 10_000])
def test_it_ends_within_a_year(org: Org, days: int) -> None:
    with pytest.raises(Invalid):
        register(org.omar, org.fraud, ends_on=timezone.now().date() + dt.timedelta(days=days))


@pytest.mark.parametrize(
    "address",
    [
        "http://app.example.com/callback",
        "https://*.example.com/callback",
        "https://app.example.com/*",
        "https://app.example.com/callback#part",
        "https://user@app.example.com/callback",
        "https://user:word@app.example.com/",
        "https:///callback",
        "https://",
        "ftp://app.example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "myapp:/callback",
        "/callback",
        "https://app.example.com/a b",
        "https://app.example.com/\\evil",
        "https://app.example.com/a/../b",
        "https://[::1",
        "https://app.example.com:99999/",
        "http://127.0.0.1.evil.example.com/",
        "http://localhost@evil.example.com/",
        "https://аpp.example.com/",
    ],
)
def test_codes_go_only_where_nobody_else_reads_them(org: Org, address: str) -> None:
    with pytest.raises(Invalid) as caught:
        register_public(org.omar, org.fraud, redirect_uris=[BACK, address])
    assert "redirect_uris" in caught.value.fields


@pytest.mark.parametrize(
    "address",
    [BACK, "http://127.0.0.1:8400/cb", "http://localhost/cb", "http://[::1]:1/cb", "com.example.app:/callback"],
)
def test_addresses_that_are_taken(org: Org, address: str) -> None:
    made = register_public(org.omar, org.fraud, redirect_uris=[address, address])
    assert made.client.get_redirect_uris() == [address]


def test_at_most_ten_addresses_and_at_least_one(org: Org) -> None:
    for addresses in ([], [f"{BACK}/{number}" for number in range(11)]):
        with pytest.raises(Invalid):
            register_public(org.omar, org.fraud, redirect_uris=addresses)


def test_who_may_register(org: Org) -> None:
    with pytest.raises(Forbidden):
        register(org.dana, org.fraud)
    with pytest.raises(NotFound):
        register(org.cy, org.fraud)
    with pytest.raises(Forbidden):
        register(org.omar, None, owner="pat")
    made, _ = register(org.pat, None)
    assert made.project is None and made.account is not None
    assert not Membership.objects.filter(user=made.account).exists()


def test_a_token_passes_on_no_more_than_it_holds(org: Org) -> None:
    by = Principal.of(org.omar, via="token", scopes=frozenset({"admin", "catalog:read"}))
    with pytest.raises(Invalid):
        applications.create(by, project=org.fraud, name="More", grants=["client_credentials"], scopes=["requests:read"])
    applications.create(by, project=org.fraud, name="Same", grants=["client_credentials"], scopes=["catalog:read"])


def test_names_are_free_again_when_the_old_one_ended(org: Org) -> None:
    made, _ = register(org.omar, org.fraud)
    with pytest.raises(Conflict):
        register(org.omar, org.fraud)
    applications.end(Principal.of(org.omar), made)
    register(org.omar, org.fraud)


def test_there_is_a_limit(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "LIMIT", 1)
    register(org.omar, org.fraud)
    with pytest.raises(Conflict):
        register(org.omar, org.fraud, name="Second")


def test_a_change_leaves_a_row_with_what_changed(org: Org) -> None:
    made, _ = register(org.omar, org.fraud)
    by = Principal.of(org.omar)
    changed = applications.change(by, made, owner="dana", description="Checks.", scopes=["catalog:read"])
    assert changed.owner == org.dana and changed.client.get_scopes() == ["catalog:read"]
    row = Row.objects.get(action="applications.change")
    assert '"owner":"dana"' in row.after and "grants" not in row.after
    applications.change(by, changed, owner="dana")
    assert Row.objects.filter(action="applications.change").count() == 1, "nothing changed, so nothing is written"
    for wrong in ({"owner": "cy"}, {"ends_on": "1999-01-01"}, {"scopes": ["admin"]}, {"redirect_uris": [BACK]}):
        with pytest.raises(Invalid):
            applications.change(by, changed, **wrong)
    with pytest.raises(Forbidden):
        applications.change(Principal.of(org.dana), changed, description="Mine.")


def test_the_end_takes_everything_along(org: Org) -> None:
    made, secret = register(org.omar, org.fraud)
    assert made.account is not None
    token = by_credentials(made, secret).json()["access_token"]
    held, key = keys.issue(Principal.of(made.account), project=org.fraud, name="k", scopes=["inference:invoke"])
    applications.end(Principal.of(org.omar), made, reason="No longer needed.")
    assert me(token).status_code == 401 and me(key).status_code == 401
    assert ApiKey.objects.get(pk=held.pk).state == "revoked"
    assert not User.objects.get(pk=made.account.pk).is_active and not Token.objects.exists()
    row = Row.objects.get(action="applications.end")
    assert row.reason == "No longer needed." and '"keys_revoked":1' in row.after and '"tokens_ended":1' in row.after
    for act in (applications.end, applications.rotate, applications.change):
        with pytest.raises(Conflict):
            act(Principal.of(org.omar), made)


def test_the_last_day_is_the_last_day(org: Org) -> None:
    day = timezone.now().date() + dt.timedelta(days=30)
    made, secret = register(org.omar, org.fraud, ends_on=day)
    with time_machine.travel(dt.datetime.combine(day, dt.time(23, 59), tzinfo=dt.UTC)):
        assert by_credentials(made, secret).status_code == 200
        tasks.clear()
        assert Application.objects.get(pk=made.pk).ended_at is None
    with time_machine.travel(dt.datetime.combine(day + dt.timedelta(days=1), dt.time(0, 1), tzinfo=dt.UTC)):
        assert by_credentials(made, secret).status_code == 401, "before the sweep"
        tasks.clear()
        tasks.clear()
        assert Application.objects.get(pk=made.pk).ended_at is not None
    assert Row.objects.filter(action="applications.end", via="system").count() == 1


def test_the_owner_is_reminded_fourteen_and_three_days_before(org: Org) -> None:
    day = timezone.now().date() + dt.timedelta(days=90)
    register(org.omar, org.fraud, ends_on=day)
    register(org.omar, org.fraud, name="Short", ends_on=timezone.now().date() + dt.timedelta(days=10))
    start = timezone.now()
    with time_machine.travel(start) as clock:
        for number in range(90):
            clock.move_to(start + dt.timedelta(days=number, hours=1))
            tasks.clear()
    told = Notification.objects.filter(kind="application.expiring").values_list("person__username", "title")
    assert sorted(name for name, _ in told) == ["omar"] * 3
    assert sum("Short" in title for _, title in told) == 1, "of a short one only the three days"


def test_expired_tokens_are_swept(org: Org) -> None:
    made, secret = register(org.omar, org.fraud)
    by_credentials(made, secret)
    with time_machine.travel(timezone.now() + dt.timedelta(hours=2)):
        tasks.clear()
    assert not Token.objects.exists()


# --- Pages
# ------------------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_secret_once(org: Org, client_for: Any) -> None:
    form = {
        "name": "Checks", "description": "", "kind": "confidential", "grants": ["client_credentials"],
        "scopes": ["requests:read"], "owner": "omar", "role": "viewer", "redirect_uris": "",
        "ends_on": (timezone.now().date() + dt.timedelta(days=30)).isoformat(),
    }  # fmt: skip
    page = client_for(org.omar).post("/projects/fraud-detection/applications/new/", form)
    assert page.status_code == 200 and page["Cache-Control"] == "no-store"
    made = Application.objects.get()
    assert "gts_" in page.content.decode() and made.client_id in page.content.decode()
    for where in (f"/applications/{made.pk}/", "/projects/fraud-detection/applications/"):
        text = client_for(org.omar).get(where).content.decode()
        assert "gts_" not in text and "Checks" in text
    wrong = client_for(org.omar).post("/projects/fraud-detection/applications/new/", form | {"scopes": ["admin"]})
    assert (
        wrong.status_code == 422
        and "second factor" in wrong.content.decode()
        and 'value="Checks"' in wrong.content.decode()
    )


def test_registering_and_rotating_ask_for_a_recent_proof(org: Org, client_for: Any) -> None:
    made, _ = register(org.omar, org.fraud)
    stale = client_for(org.omar, seconds_ago=7200)
    for where in ("/projects/fraud-detection/applications/new/", f"/applications/{made.pk}/rotate/"):
        answer = stale.post(where, {"confirm": "Pipeline", "name": "x"})
        assert answer.status_code == 302 and "/accounts/" in answer["Location"], where


def test_the_end_is_confirmed_by_name_and_counted(org: Org, client_for: Any) -> None:
    made, secret = register(org.omar, org.fraud)
    by_credentials(made, secret)
    browser = client_for(org.omar)
    page = browser.get(f"/applications/{made.pk}/end/").content.decode()
    assert "svc-pipeline" in page and "of its tokens stop at once" in page
    assert browser.post(f"/applications/{made.pk}/end/", {"confirm": "pipeline"}).status_code == 422
    assert Application.objects.get().ended_at is None
    assert browser.post(f"/applications/{made.pk}/end/", {"confirm": "Pipeline", "reason": "Over."}).status_code == 302
    assert Application.objects.get().ended_at is not None
    assert browser.post(f"/applications/{made.pk}/end/", {"confirm": "Pipeline"}).status_code == 409


def test_the_list_as_a_file(org: Org, client_for: Any) -> None:
    register(org.omar, org.fraud)
    answer = client_for(org.vic).get("/projects/fraud-detection/applications/?format=csv")
    text = b"".join(answer).decode() if answer.streaming else answer.content.decode()
    assert "Pipeline" in text and "svc-pipeline" in text and "gts_" not in text


def test_list_and_page_cost_the_same_for_two_and_for_twenty(org: Org, client_for: Any) -> None:
    browser, counts = client_for(org.omar), []
    for many in (2, 20):
        for number in range(many):
            register(org.omar, org.fraud, name=f"Checks {many} {number}")
        browser.get("/projects/fraud-detection/applications/")
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/projects/fraud-detection/applications/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15


def test_a_person_takes_back_what_an_application_may(org: Org, client_for: Any) -> None:
    tool = register_public(org.omar, org.fraud)
    dana, vic = client_for(org.dana), client_for(org.vic)
    mine, theirs = by_code(dana, tool), by_code(vic, tool)
    me(mine["access_token"])
    page = dana.get("/account/applications/").content.decode()
    assert "Tool" in page and "Read requests" in page and "omar answers for it" in page
    with CaptureQueriesContext(connection) as queries:
        dana.get("/account/applications/")
    assert len(queries) <= 15
    assert dana.post("/account/applications/revoke/", {"client": tool.client_id}).status_code == 302
    assert me(mine["access_token"]).status_code == 401 and me(theirs["access_token"]).status_code == 200
    assert Row.objects.filter(action="applications.disconnect").count() == 1
    assert dana.post("/account/applications/revoke/", {"client": tool.client_id}).status_code == 404
    assert dana.post("/account/applications/revoke/", {"client": "a\0b"}).status_code in {400, 404}
    assert dana.post("/account/applications/revoke/", {}).status_code == 422


def test_a_person_ends_an_own_token_of_the_host(org: Org, client_for: Any, api_for: Any) -> None:
    api_for(org.dana)
    token = Token.objects.get()
    assert "Access tokens made on the host" in client_for(org.dana).get("/account/applications/").content.decode()
    assert client_for(org.vic).post("/account/applications/revoke/", {"token": token.pk}).status_code == 404
    assert client_for(org.dana).post("/account/applications/revoke/", {"token": token.pk}).status_code == 302
    assert not Token.objects.exists() and Row.objects.filter(action="tokens.revoke").count() == 1


# --- API
# ------------------------------------------------------------------------------------------------------------------


def test_the_api_gives_a_secret_once(org: Org, api_for: Any) -> None:
    api = api_for(org.omar, "admin", "requests:read", "endpoints:read")
    body = {"name": "Checks", "scopes": ["requests:read"], "role": "viewer"}
    first = api.post("/projects/fraud-detection/applications", body, Idempotency_Key="one")
    assert first.status_code == 201 and first["Cache-Control"] == "no-store"
    made = first.json()
    assert made["secret"].startswith("gts_") and made["service_account"] == "svc-checks"
    again = api.post("/projects/fraud-detection/applications", body, Idempotency_Key="one")
    assert (again.status_code, again.json()["code"]) == (409, "secret_already_shown")
    where = f"/projects/fraud-detection/applications/{made['id']}"
    assert "secret" not in api.get(where).json() and api.get(where)["ETag"]
    rotated = api.post(f"{where}/rotate", Idempotency_Key="two").json()
    assert rotated["secret"] != made["secret"]
    assert api.post(f"{where}/rotate", Idempotency_Key="two").json()["code"] == "secret_already_shown"
    listed = api.get("/projects/fraud-detection/applications").json()["items"]
    assert [one["name"] for one in listed] == ["Checks"] and "secret" not in listed[0]
    assert api.delete(where).json()["state"] == "ended"
    assert api.delete(where).status_code == 409
    for wrong in ({"name": "x"}, {"name": "x", "scopes": ["fly"]}, {"name": "x", "scopes": [], "colour": 1}):
        assert api.post("/projects/fraud-detection/applications", wrong).status_code == 422


def test_an_application_of_another_project_is_not_found(org: Org, api_for: Any) -> None:
    made, _ = register(org.cy, org.search)
    org.search.memberships.create(user=org.omar, role="owner")
    api: ApiClient = api_for(org.omar, "admin", "endpoints:read")
    assert api.get(f"/projects/search-ranking/applications/{made.pk}").status_code == 200
    assert api.get(f"/projects/fraud-detection/applications/{made.pk}").status_code == 404
