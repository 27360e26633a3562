"""Signatures of requests to a bucket: AWS Signature Version 4 for GET without a body."""

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

EMPTY = hashlib.sha256(b"").hexdigest()


def sign(
    url: str, headers: Mapping[str, str], *, region: str, access_key: str, secret_key: str, now: dt.datetime
) -> dict[str, str]:
    """Return `headers` with those that sign a GET of `url`, whose path is percent-encoded already; `now` is UTC.

    All of `headers` are signed, so a proxy on the way must not change them.
    """
    parts, stamp = urlsplit(url), f"{now:%Y%m%dT%H%M%SZ}"
    whole = {**headers, "host": parts.netloc, "x-amz-content-sha256": EMPTY, "x-amz-date": stamp}
    signed = {name.lower(): " ".join(value.split()) for name, value in whole.items()}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = f"GET\n{parts.path or '/'}\n{_query(parts.query)}\n{lines}\n{names}\n{EMPTY}"
    scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for step in scope.split("/"):
        key = _mac(key, step)
    signature = _mac(key, text).hex()
    credential = f"Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
    return {**{k: v for k, v in whole.items() if k != "host"}, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}


def query(values: Mapping[str, str]) -> str:
    """Return `values` as a query in the order and encoding that a signature is made over."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(values[name], safe='-_.~')}" for name in sorted(values))


def _query(text: str) -> str:
    return "&".join(sorted(part if "=" in part else f"{part}=" for part in text.split("&"))) if text else ""


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
