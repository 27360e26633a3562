"""What can be asked for: one module per kind, each with the functions of `approvals.kinds.base.Kind`."""

from collections.abc import Mapping
from typing import Any

from approvals.kinds import access, endpoint, quota, renewal, revision
from approvals.kinds.base import Kind

KINDS: Mapping[str, Kind[Any, Any]] = {
    "endpoint": endpoint,
    "revision": revision,
    "renewal": renewal,
    "access": access,
    "quota": quota,
}
