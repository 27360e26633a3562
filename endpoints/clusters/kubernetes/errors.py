"""From what goes wrong with a call to a ClusterError: the explainer has the words, this module knows the families."""

from collections.abc import Mapping
from json import JSONDecodeError, loads
from typing import Any

from kubernetes.client.exceptions import ApiException
from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from endpoints.clusters import ClusterError
from endpoints.clusters.explaining import Explanation, explain_error
from endpoints.clusters.explaining.cases import refused
from portal.outbound import OutboundFailed, OutboundRefused

MISSING = frozenset({"not_found", "namespace_missing"})
# These speak of the server and not of the call: it is left alone for a moment.
RESTS = frozenset(
    {
        "cluster_unreachable", "cluster_slow", "cluster_unavailable", "slow_down", "certificate_expired",
        "certificate_untrusted", "answer_not_understood",
    }
)  # fmt: skip
LONGEST_WAIT = 600.0  # seconds that a server may ask for


def answered(status: int, data: bytes, headers: Mapping[str, str]) -> ClusterError:
    """Return what an answer that is no success means; `data` is its body."""
    try:
        body: Any = loads(data)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        body = data[:4000].decode("utf-8", "replace")
    after = headers.get("Retry-After")
    if after is None and isinstance(body, dict):
        after = (body.get("details") or {}).get("retryAfterSeconds") if isinstance(body.get("details"), dict) else None
    return _of(explain_error(status, body, after), _seconds(after))


def not_an_api(status: int) -> ClusterError:
    """Return the error for an answer that no API server gives."""
    return _of(explain_error(status, "", None))


def told(problem: Exception) -> ClusterError:
    """Return what a failed call means; what is no failure of a call is raised again."""
    if isinstance(problem, ClusterError):
        return problem
    if isinstance(problem, OutboundRefused):
        reason, _, way = str(problem).partition(". ")
        return refused("address_refused", detail=reason, way=way or "A platform engineer corrects the address")
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return refused("object_invalid", thing=f"with {where}", detail=first["msg"])
    if isinstance(problem, ApiException) and problem.status:
        return answered(int(problem.status), (problem.body or "").encode(), problem.headers or {})
    if isinstance(problem, ApiException | HTTPError | OutboundFailed | OSError):
        return _of(explain_error(0, str(problem) or type(problem).__name__))
    raise problem


def _of(explained: Explanation, wait_seconds: float = 0.0) -> ClusterError:
    retry = not explained.failed
    return ClusterError(explained.code, explained.sentence, explained.turn, retry, wait_seconds, explained.next)


def _seconds(after: Any) -> float:
    try:
        return min(max(float(after), 0.0), LONGEST_WAIT)
    except (TypeError, ValueError):
        return 0.0  # none, or a date: the usual pause is enough
