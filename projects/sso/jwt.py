"""JSON Web Tokens of others: which signature, issuer, audience and time the portal takes, and which never."""

import json
import math
import time
from collections.abc import Collection
from typing import Any

import jwt
from jwt.types import Options

from projects.sso import wire

MAX_TOKEN = 131_072  # characters; a token that names a thousand groups is long
MIN_RSA_BITS = 2048
FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}  # never HS: the key would be a public one
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
TIMES = ("exp", "nbf", "iat", "auth_time")


class BadToken(Exception):
    """A token that does not count: `code` for logs, `sentence` for people. Neither holds a piece of the token."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def verify(
    token: str,
    *,
    issuer: str,
    audience: str,
    algorithms: Collection[str],
    jwks_url: str = "",
    leeway: int = 30,
    required: Collection[str] = ("exp", "iat"),
    types: Collection[str] = (),
) -> dict[str, Any]:
    """Return the claims of a token that holds. `jwks_url` empty: as the issuer's discovery document says; `leeway` in
    seconds; `types`: what the header's typ may be (lower case, without "application/"), where it has one.

    Raises BadToken (malformed, alg_not_allowed, unknown_key, bad_signature, expired, not_yet_valid, wrong_issuer,
    wrong_audience, missing_claim), and portal.errors.Unavailable when the issuer's keys cannot be had.
    """
    header = _header(token)
    algorithm = header["alg"]
    if algorithm not in algorithms or algorithm[:2] not in FAMILIES:
        raise BadToken("alg_not_allowed", "The token is signed with an algorithm that is not allowed.")
    typ = str(header.get("typ", "")).lower().removeprefix("application/")
    if types and typ and typ not in types:
        raise BadToken("malformed", "The token is of another type.")
    # The issuer is read before the signature only to spare the key fetch for tokens of somebody else.
    if not _same(_unverified(token).get("iss"), issuer):
        raise BadToken("wrong_issuer", "The token comes from another issuer.")
    key = _key(header, jwks_url or wire.endpoint(issuer, "jwks_uri"))
    claims = _signed(token, key, algorithm)
    _check(claims, issuer, audience, leeway, required)
    return claims


def unsafe_issuer(token: str) -> str:
    """Return the issuer that a token claims, unverified, to choose whose keys judge it; "" for none."""
    try:
        return str(_unverified(token).get("iss", ""))
    except BadToken:
        return ""


def _malformed() -> BadToken:
    return BadToken("malformed", "The token is not a JSON Web Token.")


def _header(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2:
        raise _malformed()
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _malformed() from error
    # crit and b64 change what a signature means; nothing that the portal takes needs them.
    if not isinstance(header.get("alg"), str) or "crit" in header or "b64" in header:
        raise _malformed()
    return header


def _unverified(token: str) -> dict[str, Any]:
    try:
        claims = jwt.decode(token, options={"verify_signature": False}) if len(token) <= MAX_TOKEN else None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(claims, dict):
        raise _malformed()
    return claims


def _key(header: dict[str, Any], url: str) -> jwt.PyJWK:
    """Return the key that the header names; unknown ones have the keys fetched again, at most once a minute."""
    if url:
        for again in (False, True):
            fitting = [key for key in wire.keys(url, again=again) if _fits(key, header)]
            # Without a name the key is only certain when there is a single one.
            if fitting and ("kid" in header or len(fitting) == 1):
                return _loaded(fitting[0], header["alg"])
    raise BadToken("unknown_key", "The token is signed with a key that its issuer does not publish.")


def _fits(key: dict[str, Any], header: dict[str, Any]) -> bool:
    algorithm = header["alg"]
    if "kid" in header and key.get("kid") != header["kid"]:
        return False
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        return False
    curve = CURVES.get(algorithm)
    return key.get("kty") == FAMILIES[algorithm[:2]] and (curve is None or key.get("crv") == curve)


def _loaded(key: dict[str, Any], algorithm: str) -> jwt.PyJWK:
    public = {name: value for name, value in key.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        loaded = jwt.PyJWK.from_json(json.dumps(public), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadToken("unknown_key", "The issuer publishes a key that cannot be read.") from error
    if getattr(loaded.key, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and public["kty"] == "RSA":
        raise BadToken("unknown_key", f"The issuer's key has fewer than {MIN_RSA_BITS:,} bits.")
    return loaded


def _signed(token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
    """Return the claims once the signature holds; times and names are judged by _check."""
    options: Options = {
        "verify_signature": True,
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_aud": False,
        "verify_iss": False,
        "verify_sub": False,
        "verify_jti": False,
    }
    try:
        claims = jwt.decode(token, key.key, algorithms=[algorithm], options=options)
    except jwt.InvalidSignatureError as error:
        raise BadToken("bad_signature", "The token's signature does not hold.") from error
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _malformed() from error
    return claims


def _check(claims: dict[str, Any], issuer: str, audience: str, leeway: int, required: Collection[str]) -> None:
    for name in required:
        if claims.get(name) in (None, ""):
            raise BadToken("missing_claim", f"The token lacks the claim {name}.")
    for name in TIMES:
        value = claims.get(name, 0)
        if type(value) is not int and not (isinstance(value, float) and math.isfinite(value)):
            raise BadToken("malformed", f"The token's claim {name} is not a time.")
    now = time.time()
    if "exp" in claims and claims["exp"] + leeway <= now:
        raise BadToken("expired", "The token has expired.")
    if max(claims.get("nbf", 0), claims.get("iat", 0)) - leeway > now:
        raise BadToken("not_yet_valid", "The token is not valid yet.")
    if not _same(claims.get("iss"), issuer):
        raise BadToken("wrong_issuer", "The token comes from another issuer.")
    meant = claims.get("aud")
    if audience not in (meant if isinstance(meant, list) else [meant]):
        raise BadToken("wrong_audience", "The token is meant for somebody else.")


def _same(claimed: object, issuer: str) -> bool:
    """Some issuers name themselves with a slash at the end; the settings hold none."""
    return isinstance(claimed, str) and claimed.rstrip("/") == issuer.rstrip("/")
