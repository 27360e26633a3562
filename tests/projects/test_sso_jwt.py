"""Tokens of others: what holds, and with which code everything else is refused."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache import cache

from portal.errors import Unavailable
from projects.sso import jwt, wire
from tests.projects.sso_kit import EC_KEY, KEY, OTHER_KEY, Issuer, issuing, jwk, unsigned


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


def verify(issuer: Issuer, token: Any, **changes: Any) -> dict[str, Any]:
    wanted = {
        "issuer": issuer.url,
        "audience": "gatehouse",
        "algorithms": ("RS256", "ES256"),
        "jwks_url": f"{issuer.url}/keys",
    }
    return jwt.verify(token, **{**wanted, **changes})


def code(issuer: Issuer, token: Any, **changes: Any) -> str:
    with pytest.raises(jwt.BadToken) as caught:
        verify(issuer, token, **changes)
    assert caught.value.sentence.endswith(".")
    assert len(token) < 20 or token[:20] not in caught.value.sentence
    return caught.value.code


def test_a_good_token_holds(issuer: Issuer) -> None:
    assert verify(issuer, issuer.sign(issuer.identity()))["sub"] == "sub-dana"
    assert verify(issuer, issuer.sign(issuer.identity()), jwks_url="")["sub"] == "sub-dana"  # by discovery
    several = issuer.identity() | {"aud": ["other", "gatehouse"]}
    assert verify(issuer, issuer.sign(several))["aud"] == ["other", "gatehouse"]


def test_issuers_that_end_in_a_slash(issuer: Issuer) -> None:
    assert verify(issuer, issuer.sign(issuer.identity() | {"iss": f"{issuer.url}/"}))["sub"] == "sub-dana"


def test_elliptic_keys(issuer: Issuer) -> None:
    issuer.keys = [jwk(EC_KEY, "e1", "ES256")]
    token = issuer.sign(issuer.identity(), key=EC_KEY, alg="ES256", kid="e1")
    assert verify(issuer, token)["sub"] == "sub-dana"
    assert code(issuer, token, algorithms=("RS256",)) == "alg_not_allowed"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": 1}, "expired"), ({"exp": None}, "missing_claim"), ({"exp": "soon"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": float("inf")}, "malformed"), ({"exp": float("nan")}, "malformed"), ({"exp": 10**400}, ""),
        ({"iat": 10**12}, "not_yet_valid"), ({"nbf": 10**12}, "not_yet_valid"), ({"nbf": []}, "malformed"),
        ({"iss": "https://evil.example"}, "wrong_issuer"), ({"iss": None}, "wrong_issuer"),
        ({"iss": 7}, "wrong_issuer"),
        ({"aud": "somebody"}, "wrong_audience"), ({"aud": []}, "wrong_audience"), ({"aud": None}, "wrong_audience"),
        ({"aud": {"gatehouse": 1}}, "wrong_audience"), ({"aud": "gatehouse gatehouse"}, "wrong_audience"),
    ],
)  # fmt: skip
def test_claims(issuer: Issuer, changes: dict[str, Any], expected: str) -> None:
    token = _encode(issuer.identity() | changes)
    if expected:
        assert code(issuer, token) == expected
    else:
        assert verify(issuer, token)["sub"] == "sub-dana"


def _encode(claims: dict[str, Any]) -> str:
    """Sign claims as they are: PyJWT refuses to write some of them."""
    return pyjwt.PyJWS().encode(json.dumps(claims).encode(), KEY, "RS256", headers={"kid": "k1", "typ": "JWT"})


def test_leeway_covers_a_clock_that_is_off(issuer: Issuer) -> None:
    now = int(time.time())
    late = issuer.sign(issuer.identity() | {"exp": now - 20})
    assert verify(issuer, late)["sub"] == "sub-dana"
    assert code(issuer, late, leeway=5) == "expired"
    early = issuer.sign(issuer.identity() | {"iat": now + 20})
    assert verify(issuer, early)["sub"] == "sub-dana"
    assert code(issuer, early, leeway=5) == "not_yet_valid"


def test_required_claims(issuer: Issuer) -> None:
    assert code(issuer, issuer.sign(issuer.identity()), required=("exp", "jti")) == "missing_claim"


def test_forged_signatures(issuer: Issuer) -> None:
    claims = issuer.identity()
    assert code(issuer, issuer.sign(claims, key=OTHER_KEY)) == "bad_signature"
    head, body, mac = issuer.sign(claims).split(".")
    other = issuer.sign(claims | {"sub": "sub-pat"}).split(".")[1]
    assert code(issuer, f"{head}.{other}.{mac}") == "bad_signature"
    assert code(issuer, f"{head}.{body}.") == "bad_signature"
    assert code(issuer, unsigned(claims)) == "alg_not_allowed"
    assert code(issuer, unsigned(claims), algorithms=("none", "RS256")) == "alg_not_allowed"
    shared = pyjwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "k1"})
    assert code(issuer, shared) == "alg_not_allowed"
    assert code(issuer, shared, algorithms=("HS256",)) == "alg_not_allowed"  # not even when somebody configures it


def test_headers_that_change_what_a_signature_means(issuer: Issuer) -> None:
    for header in ({"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"alg": 7}):
        head = issuer.sign(issuer.identity()).split(".")
        text = json.dumps({"alg": "RS256", "kid": "k1", **header}).encode()
        head[0] = base64.urlsafe_b64encode(text).decode().rstrip("=")
        assert code(issuer, ".".join(head)) == "malformed"
    # keys that the token brings along are not looked at
    token = issuer.sign(issuer.identity(), key=OTHER_KEY, jwk=jwk(OTHER_KEY, "k1", "RS256"), jku="https://evil.example")
    assert code(issuer, token) == "bad_signature"


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "é.é.é", "a" * 200_000, "eyJhbGciOiJSUzI1NiJ9.e30", "\0", "a.b.c.d.e"]
)
def test_what_is_no_token(issuer: Issuer, text: str) -> None:
    assert code(issuer, text) == "malformed"


def test_deep_documents_are_no_mistake(issuer: Issuer) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 60_000).decode().rstrip("=")
    head = issuer.sign(issuer.identity()).split(".")[0]
    assert code(issuer, f"{head}.{deep}.") == "malformed"
    assert code(issuer, f"{deep}.{deep}.") == "malformed"


def test_types(issuer: Issuer) -> None:
    token = issuer.sign(issuer.identity(), typ="application/Logout+JWT")
    assert verify(issuer, token, types=("logout+jwt",))
    assert code(issuer, token, types=("at+jwt",)) == "malformed"


def test_rotation_is_noticed_and_asked_for_once_a_minute(issuer: Issuer) -> None:
    assert verify(issuer, issuer.sign(issuer.identity()))
    asked = lambda: sum(path == "/keys" for _, path, _, _ in issuer.calls)  # noqa: E731
    assert verify(issuer, issuer.sign(issuer.identity())) and asked() == 1
    issuer.keys = [jwk(OTHER_KEY, "k2", "RS256")]
    token = issuer.sign(issuer.identity(), key=OTHER_KEY, kid="k2")
    assert verify(issuer, token) and asked() == 2
    for number in range(5):  # a flood of unknown keys reaches the issuer no more
        assert code(issuer, issuer.sign(issuer.identity(), key=OTHER_KEY, kid=f"x{number}")) == "unknown_key"
    assert asked() == 2
    assert code(issuer, issuer.sign(issuer.identity())) == "unknown_key"  # the old key is gone


def test_a_token_without_a_key_name_needs_a_single_key(issuer: Issuer) -> None:
    token = pyjwt.encode(issuer.identity(), KEY, algorithm="RS256")
    assert verify(issuer, token)["sub"] == "sub-dana"
    cache.clear()
    issuer.keys.append(jwk(OTHER_KEY, "k2", "RS256"))
    assert code(issuer, token) == "unknown_key"


def test_keys_of_another_purpose_or_too_small(issuer: Issuer) -> None:
    token = issuer.sign(issuer.identity())
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for keys, signed in (
        ([jwk(KEY, "k1", "RS256") | {"use": "enc"}], token),
        ([jwk(KEY, "k1", "RS256") | {"alg": "RS512"}], token),
        ([jwk(KEY, "k1", "RS256") | {"kty": "oct"}], token),
        ([jwk(KEY, "k1", "RS256") | {"n": "AQ"}], token),
        ([jwk(KEY, "k1", "RS256") | {"n": 7}], token),
        ([{"kid": "k1"}], token),
        (["k1"], token),
        ([jwk(small, "k1", "RS256")], issuer.sign(issuer.identity(), key=small)),
    ):
        cache.clear()
        issuer.keys = keys  # type: ignore[assignment] # whatever an issuer may publish
        assert code(issuer, signed) == "unknown_key", keys


def test_an_issuer_that_is_away(issuer: Issuer) -> None:
    token = issuer.sign(issuer.identity())
    issuer.down = True
    with pytest.raises(Unavailable):
        verify(issuer, token)
    issuer.down = False
    assert verify(issuer, token)
    issuer.down = True  # what is known serves on
    assert verify(issuer, token)


def test_an_issuer_whose_document_is_another_ones(issuer: Issuer) -> None:
    issuer.raw["/.well-known/openid-configuration"] = (200, b'{"issuer": "https://evil.example", "jwks_uri": "x"}')
    with pytest.raises(Unavailable):
        verify(issuer, issuer.sign(issuer.identity()), jwks_url="")


def test_calls_go_through_the_one_way_out(issuer: Issuer, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "sso": []}
    with pytest.raises(Unavailable, match="not public"):
        wire.document(f"{issuer.url}/keys")
    with pytest.raises(OSError, match="not public"):
        wire.session().get(f"{issuer.url}/keys")
    settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "sso": ["127.0.0.0/8"]}
    assert wire.session().get(f"{issuer.url}/keys").json() == {"keys": issuer.keys}
    assert wire.session().post(f"{issuer.url}/token", data={"grant_type": "x"}, auth=("a", "b")).status_code == 400
    issuer.raw["/keys"] = (302, b"")
    with pytest.raises(OSError, match="elsewhere"):
        wire.session().get(f"{issuer.url}/keys")
