"""create_token: the last line is the token, bounds are said."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit.models import Row
from portal.errors import Invalid
from projects import tokens
from tests.conftest import ApiClient, Org


def run(*args: str) -> str:
    out = StringIO()
    call_command("create_token", *args, stdout=out, stderr=StringIO())
    return out.getvalue().strip().splitlines()[-1]


@pytest.mark.django_db
def test_the_last_line_is_a_working_token(org: Org) -> None:
    secret = run(
        "dana", "--scope", "catalog:read", "--scope", "usage:read", "--project", "fraud-detection", "--ttl", "30m"
    )
    body = ApiClient(secret).get("/me").json()
    assert body["scopes"] == ["catalog:read", "usage:read"]
    row = Row.objects.get(action="tokens.create")
    assert secret not in row.canonical and row.via == "command"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "args",
    [
        ("nobody", "--scope", "usage:read"),
        ("dana", "--scope", "fly"),
        ("dana", "--scope", "usage:read", "--ttl", "soon"),
        ("dana", "--scope", "usage:read", "--ttl", "366d"),
        ("pat", "--scope", "approvals:decide", "--ttl", "2h"),
        ("pat", "--scope", "admin", "--ttl", "61m"),
        ("dana", "--scope", "usage:read", "--project", "none"),
    ],
)
def test_bad_arguments_are_one_sentence(org: Org, args: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as error:
        run(*args)
    assert "\n" not in str(error.value)


@pytest.mark.django_db
def test_inactive_people_get_no_token(org: Org) -> None:
    org.dana.is_active = False
    with pytest.raises(Invalid):
        tokens.create(org.dana, scopes=["usage:read"], project=None, ttl=dt.timedelta(hours=1))


@pytest.mark.django_db
def test_a_bound_token_is_a_stranger_in_other_projects(org: Org) -> None:
    secret = tokens.create(org.aud, scopes=["usage:read"], project=org.fraud, ttl=dt.timedelta(hours=1))
    assert ApiClient(secret).get("/projects/search-ranking").status_code == 404
    assert ApiClient(secret).get("/projects/fraud-detection").status_code == 200
