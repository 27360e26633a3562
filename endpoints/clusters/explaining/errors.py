"""What an answer of an API server means when it is an error, and a failure to get any answer."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from endpoints.clusters.explaining.admission import denial
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import at, clip, line, mapping, number, objects, text
from endpoints.clusters.explaining.seen import Explanation

_RBAC = re.compile(
    r'User "([^"]{1,300})" cannot (\w{1,40}) '
    r'(?:resource "([^"]{1,200})" in API group "([^"]{0,200})"|path "([^"]{1,300})")'
    r'(?: (at the cluster scope)| in the namespace "([^"]{1,253})")?'
)
_UNKNOWN_FIELD = re.compile(r'(\.[^\s]{1,300}): field not declared in schema|unknown field "([^"]{1,300})"')
_MANAGER = re.compile(r'conflict with "([^"]{1,200})"')
_NAMESPACE = re.compile(r'namespaces? "([^"]{1,253})" not found')
_EXPIRED = re.compile(r"certificate (?:has |is )?expired|CERTIFICATE_EXPIRED|not yet valid", re.IGNORECASE)
_TLS = re.compile(r"certificate|SSL|TLS|x509", re.IGNORECASE)
_SLOW = re.compile(r"timed? ?out|timeout|deadline exceeded", re.IGNORECASE)


def explain_error(status: int, body: Any, retry_after: Any = None) -> Explanation:
    """Return what an error of the API means.

    `status` is the HTTP status, 0 when no answer came; `body` is the Status object, or any text that came in its
    place (with 0: the words of the exception); `retry_after` is the header, in seconds.
    """
    message = text(at(body, "message")) or text(body)
    if number(status) is None or not 100 <= status <= 599:
        return _silence(message)
    found = denial(message) if status >= 400 and status != 404 else None  # what is asked for is not there: no denial
    if found is not None:
        return found
    judge = _JUDGES.get(status)
    if judge is not None:
        return judge(status, mapping(body), message, retry_after)
    if status >= 500:
        return _server(status, mapping(body), message, retry_after)
    if status >= 400:
        return say("request_refused", status=status, detail=line(message) or "it gives no reason")
    return say("answer_not_understood", status=status)


def _silence(message: str) -> Explanation:
    """Explain why no answer came, from the words of an exception."""
    if _EXPIRED.search(message):
        return say("certificate_expired")
    if _TLS.search(message):
        inner = re.search(r"certificate verify failed: ([^(\n]{1,160})", message)
        return say("certificate_untrusted", detail=line(inner[1] if inner else message, 120))
    if _SLOW.search(message):
        return say("cluster_slow")
    known = (
        ("refused", "nobody listens at its address"), ("reset", "the connection was cut"),
        ("name or service", "its name is not known"), ("resolve", "its name is not known"),
        ("unreachable", "there is no way to its network"),
    )  # fmt: skip
    detail = next((words for part, words in known if part in message.lower()), line(message, 120) or "no connection")
    return say("cluster_unreachable", detail=detail)


def _unauthorised(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    return say("token_refused")


def _forbidden(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    found = _RBAC.search(message)
    if not found:
        return say("forbidden", detail=line(message) or "it gives no reason")
    user, verb, resource, group, path, everywhere, namespace = found.groups()
    if user == "system:anonymous":
        return say("not_signed_in")
    scope = f"in the namespace {namespace}" if namespace else "in the whole cluster" if everywhere else ""
    return say(
        "permission_missing",
        user=user.removeprefix("system:serviceaccount:").replace(":", "/"),
        verb=verb,
        resource=resource or path,
        group=f".{group}" if group else "",
        scope=scope,
    )


def _missing(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    thing = _thing(body)
    if body.get("kind") == "Status" and (found := _NAMESPACE.search(message)):
        return say("namespace_missing", namespace=found[1])
    if at(body, "details", "name") and "could not find the requested resource" not in message:
        return say("not_found", thing=thing)
    if body.get("kind") != "Status" and "page not found" not in message:
        return say("answer_not_understood", status=status)
    return say("kind_missing", kind=_kind(body) or "that the driver needs")


def _conflict(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    thing = _thing(body)
    if body.get("reason") == "AlreadyExists":
        return say("already_exists", thing=thing)
    held = [one for one in objects(at(body, "details", "causes")) if one.get("reason") == "FieldManagerConflict"]
    if held:
        found = _MANAGER.search(text(held[0].get("message"))) or _MANAGER.search(message)
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        field = (line(held[0].get("field"), 120) or "a field").removeprefix(".")
        return say("field_conflict", manager=found[1] if found else "Somebody else", field=f"{field}{more}")
    return say("changed_meanwhile", thing=thing)


def _gone(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    return say("history_gone")


def _invalid(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    if unknown := _unknown_field(message, body):
        return unknown
    thing = _thing(body)
    causes = objects(at(body, "details", "causes"))
    fields = [(line(one.get("field"), 110), line(one.get("message"), 150)) for one in causes]
    field, detail = fields[0] if fields else ("", line(message) or "it gives no reason")
    return say("object_invalid", thing=thing, detail=f"{field}: {detail}" if field else detail)


def _too_large(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    return say("object_too_large")


def _patience(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    if "initializing" in message:  # of a kind that was defined this moment: nobody asks too much
        return _unavailable(status, body, message, retry_after)
    return say("slow_down", after=_after(body, retry_after))


def _unavailable(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    return say("cluster_unavailable", after=_after(body, retry_after), detail=line(message, 140) or f"status {status}")


def _too_slow(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    return say("cluster_slow")


def _server(status: int, body: Mapping[str, Any], message: str, retry_after: Any) -> Explanation:
    """A field that an apply does not know comes as a 500 without a reason; trying that again changes nothing."""
    unknown = _unknown_field(message, body)
    return unknown or say("cluster_error", status=status, detail=line(message, 140) or "it gives no reason")


_JUDGES: dict[int, Callable[[int, Mapping[str, Any], str, Any], Explanation]] = {
    400: _invalid, 401: _unauthorised, 403: _forbidden, 404: _missing, 408: _too_slow, 409: _conflict, 410: _gone,
    413: _too_large, 422: _invalid, 429: _patience, 502: _unavailable, 503: _unavailable, 504: _too_slow,
}  # fmt: skip


def _unknown_field(message: str, body: Mapping[str, Any]) -> Explanation | None:
    found = _UNKNOWN_FIELD.search(message)
    if not found:
        return None
    named = re.search(r"\(([^;)]{0,253}); [^,)]{1,200}, Kind=(\w{1,80})\)", message)
    thing = f"{named[2]} {named[1].strip('/')}" if named else _thing(body)
    return say("field_unknown", field=clip((found[1] or found[2]).removeprefix("."), 140), thing=thing)


def _kind(body: Mapping[str, Any]) -> str:
    kind, group = line(at(body, "details", "kind"), 60), line(at(body, "details", "group"), 80)
    return f"{kind}.{group}" if group and kind.islower() else kind


def _thing(body: Mapping[str, Any]) -> str:
    """Return kind and name of the object that an answer speaks of."""
    return " ".join(filter(None, (_kind(body), line(at(body, "details", "name"), 80)))) or "of the call"


def _after(body: Mapping[str, Any], retry_after: Any) -> str:
    seconds = number(retry_after)
    if seconds is None:
        seconds = number(at(body, "details", "retryAfterSeconds"))
    return f" after {seconds} s" if seconds is not None and 0 <= seconds < 86_400 else ""
