"""Why a server image cannot be downloaded: the registry's own words behind the node's back-off."""

import re
from collections.abc import Mapping
from typing import Any

from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import at, events_of, line, name, text
from endpoints.clusters.explaining.seen import Explanation, Seen

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}
)
# In this order: a registry that wants a login often answers "not found or no access", and that is told as access.
_CAUSES = (
    ("image_rate_limited", re.compile(r"toomanyrequests|too many requests|rate limit|\b429\b", re.IGNORECASE)),
    ("image_signature", re.compile(r"signature ?validation|signature verification|SignatureValidationFailed", re.I)),
    ("image_platform", re.compile(r"no match for platform|no matching manifest|exec format error", re.IGNORECASE)),
    ("node_disk_full", re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)),
    (
        "image_refused",
        re.compile(
            r"unauthori[sz]ed|authentication required|authorization failed|access denied|\bdenied\b|no basic auth"
            r"|\b401\b|\b403\b|forbidden|insufficient_scope|PermissionDenied|Unauthenticated", re.IGNORECASE,
        ),
    ),
    (
        "registry_unreachable",
        re.compile(
            r"i/o timeout|no such host|connection refused|connection reset|TLS handshake|x509:|no route to host"
            r"|deadline exceeded|Client\.Timeout|server misbehaving|network is unreachable|RegistryUnavailable"
            r"|\b50[0234]\b|EOF", re.IGNORECASE,
        ),
    ),
    ("image_not_found", re.compile(r"not found|manifest unknown|NotFound|name unknown|does not exist", re.IGNORECASE)),
)  # fmt: skip
_QUOTED = re.compile(r'"[^"]{0,600}"')


def unpulled(pod: Any, container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return why the image of a container in `waiting` is not there; None when that is not what it waits for."""
    reason = text(at(container, "state", "waiting", "reason"))
    image = line(container.get("image"), 120) or "of the version"
    if reason == "InvalidImageName":
        return say("image_name_invalid", image=image)
    if reason == "ErrImageNeverPull":
        return say("image_not_present", image=image)
    if reason not in PULL_REASONS:
        return None
    message = text(at(container, "state", "waiting", "message"))
    told = [
        text(event.get("message"))
        for event in events_of(seen.events, "Pod", name(pod), "Failed", "FailedToPullImage")
        if "pull" in text(event.get("message")).lower() and "Error: " not in text(event.get("message"))[:8]
    ]
    node = line(at(pod, "spec", "nodeName"), 80) or "that it runs on"
    for words in (message, *told[:3]):
        # The name of an image may hold any of these words itself.
        bare = f"{reason} {_QUOTED.sub('', words)}".replace(image, "")
        for code, pattern in _CAUSES:
            if pattern.search(bare):
                return say(code, image=image, detail=_reason(words), node=node)
    return say("image_pull_failed", image=image, detail=_reason(next(iter(told), message)))


def _reason(words: str) -> str:
    """Return the innermost error of a chain that is joined by colons."""
    chain = [part.strip() for part in re.split(r": (?![^\"]{0,200}\"(?:$|[,:]))", words) if part.strip()]
    return line(": ".join(chain[-2:]), 140) or "the node gives no reason"
