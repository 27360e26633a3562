"""What can be asked for: one module per kind, each with the functions of `approvals.kinds.base.Kind`."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from approvals.kinds import access, admission, endpoint, mcp_access, quota, renewal, revision
from approvals.kinds.base import Found, Kind
from approvals.models import Request
from projects.principal import Principal

# The kind `waiver` judges requests of the others, so it is added when all of them are there: approvals/apps.py.
KINDS: MutableMapping[str, Kind[Any, Any]] = {
    "endpoint": endpoint,
    "revision": revision,
    "renewal": renewal,
    "access": access,
    "quota": quota,
    "mcp-access": mcp_access,
    "admission": admission,
}
# Kinds whose object has a state of its own that follows the request: each has `sent` and `ended`, too.
FOLLOWED: Mapping[str, Any] = {"admission": admission, "endpoint": endpoint}


def sent(by: Principal, request: Request, found: Found) -> None:
    """Let what `request` is about follow its submission, in the same transaction."""
    if request.kind in FOLLOWED:
        FOLLOWED[request.kind].sent(by, request, found)


def ended(by: Principal, request: Request, reason: str | None) -> None:
    """Let what `request` is about follow an answer other than approval, or None: it was taken back."""
    if request.kind in FOLLOWED:
        FOLLOWED[request.kind].ended(by, request, reason)
