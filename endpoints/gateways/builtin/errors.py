"""Refusals in OpenAI's shape: one clear sentence and a stable code that programs may rely on."""

import json
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """The call ends here with an OpenAI-shaped error; `code` is part of the public contract."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, headers: Headers = ()
    ) -> None:
        """Keep `status` (HTTP), `code`, the sentence for a person, the field at fault and extra response headers."""
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.headers = status, code, message, param, tuple(headers)

    def body(self) -> bytes:
        """Return the JSON document."""
        return error_body(self.status, self.code, self.message, self.param)


def error_body(status: int, code: str, message: str, param: str | None = None) -> bytes:
    """Return {"error": {"message", "type", "param", "code"}} as bytes."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


def invalid(message: str, *, param: str | None = None, code: str = "invalid_request") -> Refusal:
    """Return the 400 for a body that cannot be used."""
    return Refusal(400, code, message, param=param)


def invalid_key(message: str) -> Refusal:
    """Return the 401 for a bearer that is missing or no longer good."""
    return Refusal(401, "invalid_api_key", message, headers=[(b"www-authenticate", b"Bearer")])


def retry_later(status: int, code: str, message: str, seconds: int) -> Refusal:
    """Return a refusal that passes by itself; `seconds` goes into Retry-After."""
    return Refusal(status, code, message, headers=[(b"retry-after", str(seconds).encode())])


def model_not_found(model: str) -> Refusal:
    """Return the 404 that looks the same whether the endpoint is unknown, foreign, or not among the key's targets."""
    return Refusal(
        404, "model_not_found", f"The model {model!r} does not exist or this key may not call it; "
        "GET /v1/models lists what it may call.", param="model",
    )  # fmt: skip


def control_plane_unavailable() -> Refusal:
    """Return the 503 while the portal's database cannot be asked and the grace period does not cover the call."""
    return retry_later(
        503,
        "control_plane_unavailable",
        "The gateway cannot confirm this call with the portal's database right now; try again in a few seconds.",
        5,
    )
