"""Access tokens of an issuer outside, over real HTTP: whom they stand for, and what is never taken."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount

from portal.errors import Conflict, Forbidden, Invalid
from portal.sso import Issuer as Setting
from projects.models import Application, User
from projects.oauth import applications
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.projects.oauth_kit import me, post, register
from tests.projects.sso_kit import OTHER_KEY, PUBLIC_PEM, Issuer, issuing, unsigned

pytestmark = pytest.mark.slow


@pytest.fixture
def issuer(org: Org, settings: Any) -> Iterator[Issuer]:
    """The issuer of the portal's people, whose tokens the API takes too; dana has come through it."""
    with issuing() as found:
        settings.SSO = found.provider
        settings.EXTERNAL_JWT = Setting(issuer=found.url, audience="gatehouse-api", algorithms=("RS256",))
        SocialAccount.objects.create(user=org.dana, provider="keycloak", uid="sub-dana")
        yield found


@pytest.fixture
def pipeline(org: Org, issuer: Issuer) -> Application:
    made, secret = register(
        org.pat, org.fraud, name="Outside", grants=["external"], client_id="corp-pipeline",
        scopes=["requests:read", "requests:write"],
    )  # fmt: skip
    assert secret == ""
    return made


def machine(issuer: Issuer, **changes: Any) -> str:
    """A client credentials token as Keycloak makes it."""
    now = int(time.time())
    claims = {
        "iss": issuer.url, "aud": "gatehouse-api", "azp": "corp-pipeline", "sub": "f3b1", "iat": now, "exp": now + 300,
        "scope": "requests:read requests:write catalog:read", "typ": "Bearer",
    } | changes  # fmt: skip
    return issuer.sign({name: value for name, value in claims.items() if value is not None})


def person(issuer: Issuer, **changes: Any) -> str:
    """A token that a person got through some client."""
    claims = {"azp": "console", "sub": "sub-dana", "sid": "s", "amr": ["pwd"], "auth_time": int(time.time())}
    return machine(issuer, **(claims | changes))


def test_a_registered_client_acts_as_its_service_account(org: Org, issuer: Issuer, pipeline: Application) -> None:
    said = me(machine(issuer)).json()
    assert said["principal"]["user"] == "svc-outside" and said["credential"]["kind"] == "external"
    assert said["scopes"] == ["requests:read", "requests:write"], "those of token and application together"
    assert [one["slug"] for one in said["projects"]] == ["fraud-detection"]
    api = ApiClient(machine(issuer))
    assert api.get("/projects/search-ranking").status_code == 404
    applications.end(Principal.of(org.pat), pipeline)
    assert me(machine(issuer)).status_code == 401


def test_a_person_is_known_by_subject(org: Org, issuer: Issuer) -> None:
    said = me(person(issuer)).json()
    assert said["principal"]["user"] == "dana" and said["credential"]["second_factor"] is None
    assert said["credential"]["application"] is None
    User.objects.filter(pk=org.dana.pk).update(is_active=False)
    assert me(person(issuer)).status_code == 401


def test_deciding_wants_a_second_factor_and_a_fresh_token(org: Org, issuer: Issuer) -> None:
    scope = "requests:read approvals:decide admin"
    assert me(person(issuer, scope=scope)).json()["scopes"] == ["requests:read"]
    strong = me(person(issuer, scope=scope, amr=["pwd", "otp"])).json()
    assert "approvals:decide" in strong["scopes"] and strong["credential"]["second_factor"] == "sso"
    assert "admin" in me(person(issuer, scope=scope, acr="mfa")).json()["scopes"]
    old = int(time.time()) - 3601
    assert me(person(issuer, scope=scope, amr=["otp"], iat=old)).json()["scopes"] == ["requests:read"]
    assert me(person(issuer, scope=scope, acr=["mfa"], amr="otp")).json()["scopes"] == ["requests:read"]


def test_a_token_of_a_person_never_passes_as_the_service_account(
    org: Org, issuer: Issuer, pipeline: Application
) -> None:
    """A person whom the portal does not know, through a client that it does."""
    marks: list[dict[str, Any]] = [{"sid": "s"}, {"amr": []}, {"auth_time": 1}, {"nonce": "n"}, {"session_state": "x"}]
    for claim in marks:
        assert me(machine(issuer, sub="stranger", **claim)).status_code == 401, claim


def test_a_program_never_decides(org: Org, issuer: Issuer, pipeline: Application) -> None:
    pipeline.client.set_scopes(["requests:read", "approvals:decide"])
    pipeline.client.save()
    assert me(machine(issuer, scope="requests:read approvals:decide", acr="mfa")).json()["scopes"] == ["requests:read"]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda issuer: machine(issuer, exp=int(time.time()) - 60), "jwt_expired"),
        (lambda issuer: machine(issuer, nbf=int(time.time()) + 600), "jwt_not_yet_valid"),
        (lambda issuer: machine(issuer, aud="somebody-else"), "jwt_wrong_audience"),
        (lambda issuer: machine(issuer, aud=None), "jwt_wrong_audience"),
        (lambda issuer: machine(issuer, sub=None), "jwt_missing_claim"),
        (lambda issuer: machine(issuer, exp=None), "jwt_missing_claim"),
        (
            lambda issuer: unsigned({"iss": issuer.url, "aud": "gatehouse-api", "sub": "sub-dana"}),
            "jwt_alg_not_allowed",
        ),
        (lambda issuer: issuer.sign({"iss": issuer.url, "aud": "gatehouse-api"}, key=OTHER_KEY), "jwt_bad_signature"),
        (lambda issuer: issuer.sign({"iss": issuer.url}, key=OTHER_KEY, kid="k9"), "jwt_unknown_key"),
        (lambda issuer: machine(issuer)[:-8] + "AAAAAAAA", "jwt_bad_signature"),
        (lambda issuer: machine(issuer, azp="unknown-client"), "jwt_unknown_subject"),
        (lambda issuer: machine(issuer, azp=7), "jwt_unknown_subject"),
        (lambda issuer: machine(issuer, azp=None), "jwt_unknown_subject"),
        (lambda issuer: machine(issuer, iss="https://evil.example.com"), "unknown"),
        (lambda issuer: "ey.ey.ey", "unknown"),
    ],
)
def test_what_is_never_taken(
    issuer: Issuer, pipeline: Application, caplog: pytest.LogCaptureFixture, token: Any, reason: str
) -> None:
    secret = token(issuer)
    with caplog.at_level(logging.WARNING):
        answer = me(secret)
    assert answer.status_code == 401 and answer.json()["detail"].startswith("The token or key is unknown")
    assert f"reason={reason} " in caplog.text
    assert secret[-20:] not in caplog.text


def test_a_symmetric_signature_under_the_public_key_is_never_taken(issuer: Issuer, settings: Any) -> None:
    jwt = pytest.importorskip("jwt")
    claims = {"iss": issuer.url, "aud": "gatehouse-api", "sub": "sub-dana", "iat": 1, "exp": 9_999_999_999}
    forged = jwt.api_jws.PyJWS()
    header = {"kid": "k1", "alg": "HS256"}
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    hs256.prepare_key = lambda key: key  # pyjwt itself refuses to sign with a public key
    forged.unregister_algorithm("HS256")
    forged.register_algorithm("HS256", hs256)
    token = forged.encode(jwt.api_jwt.json.dumps(claims).encode(), PUBLIC_PEM, algorithm="HS256", headers=header)
    assert me(token).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [{"exp": 10**400}, {"iat": -(10**400)}, {"scope": 7}, {"scope": ["requests:read", 7]}, {"scope": {"a": 1}},
     {"amr": {"otp": 1}}, {"amr": [[1]]}, {"acr": {}}, {"sub": ["sub-dana"]}, {"sub": "x" * 5000}, {"sub": "a\0b"},
     {"azp": "a\0b"}, {"azp": "x" * 5000}, {"azp": ["corp-pipeline"]}],
)  # fmt: skip
def test_odd_claims_are_no_mistake_of_the_portal(issuer: Issuer, pipeline: Application, changes: Any) -> None:
    for make in (machine, person):
        fields = {"azp": "console", "sub": "sub-dana"} | changes if make is person else changes
        token = machine(issuer, **({"sid": "s", **fields} if make is person else fields))
        assert me(token).status_code in {200, 401}


def test_a_verified_token_is_not_verified_again_for_half_a_minute_yet_revocable(
    org: Org, issuer: Issuer, pipeline: Application
) -> None:
    token = machine(issuer)
    assert me(token).status_code == 200
    issuer.keys = []
    assert me(token).status_code == 200
    User.objects.filter(pk=org.pat.pk).update(is_active=False)  # the owner leaves
    assert me(token).status_code == 401


def test_an_issuer_that_is_away_is_no_mistake_of_the_portal(issuer: Issuer, pipeline: Application) -> None:
    issuer.down = True
    assert me(machine(issuer)).status_code == 401


def test_without_the_setting_nothing_is_taken(issuer: Issuer, pipeline: Application, settings: Any) -> None:
    settings.EXTERNAL_JWT = None
    assert me(machine(issuer)).status_code == 401


def test_only_engineers_speak_for_a_client_of_the_issuer(org: Org, issuer: Issuer, pipeline: Application) -> None:
    with pytest.raises(Forbidden):
        register(org.omar, org.fraud, name="Mine", grants=["external"], client_id="of-another-team")
    with pytest.raises(Conflict):
        register(org.pat, org.fraud, name="Twice", grants=["external"], client_id="corp-pipeline")
    with pytest.raises(Invalid):
        register(org.pat, org.fraud, name="Nameless", grants=["external"], client_id="")
    with pytest.raises(Invalid):
        register(org.pat, org.fraud, name="Spaces", grants=["external"], client_id="a b")


def test_an_outside_client_gets_no_token_here(issuer: Issuer, pipeline: Application) -> None:
    answer = post("/identity/o/api/token", ("corp-pipeline", "!"), grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert me(machine(issuer, azp=pipeline.client_id)).status_code == 200
