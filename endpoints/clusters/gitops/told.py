"""From what git prints to what people are told. Pure functions; secrets and controls are left out."""

import re
from collections.abc import Iterable

from endpoints.clusters import ClusterError
from endpoints.clusters.gitops.program import Ran
from endpoints.clusters.gitops.words import error

_REJECTED = re.compile(r"^!\t[^\t]*\t\[(remote )?rejected\] \(([^\n]{0,300})\)", re.MULTILINE)
_BEHIND = (
    "fetch first",
    "non-fast-forward",
    "stale info",
    "cannot lock ref",
    "failed to update ref",
    "reference already exists",
)
_SECRET = re.compile(r"(?i)(bearer|basic|token|password|authorization)[:= ]+\S+|gh[pousr]_\w{20,}|glpat-[\w-]{16,}")
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")

# First match wins: what it says, and the code.
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"host key verification failed|identification has changed|no \S+ host key is known", "git_host_key"),
        (r"permission denied \(|permission denied, please|authentication failed|could not read (username|password)"
         r"|returned error: (401|403)|load key .*(invalid|error)", "git_credential"),
        (r"certificate|ssl_connect|gnutls|\btls (connect|handshake|alert)|trust anchors", "git_certificate"),
        (r"couldn't find remote ref", "git_branch_missing"),
        (r"could not resolve|connection refused|failed to connect|couldn't connect|no route to host|unreachable"
         r"|connection (reset|closed)|connection timed out|returned error: (429|5\d\d)|hung up unexpectedly"
         r"|early eof|empty reply", "git_unreachable"),
        (r"operation too slow|timed? ?out", "git_slow"),
        (r"repository .*not found|does not appear to be a git repository|returned error: 404|not exist",
         "git_repository_missing"),
    )
)  # fmt: skip


def failed(ran: Ran, *, branch: str, seconds: float, secrets: Iterable[str] = ()) -> ClusterError:
    """Return what a run that did not do its work means."""
    words = clean(ran.words, secrets)
    if ran.late:
        return error("git_slow", seconds=f"{seconds:g}")
    if ran.large:
        return error("git_failed", detail="it said more than the portal reads")
    code = next((code for pattern, code in _SIGNS if pattern.search(ran.words)), "git_failed")
    return error(code, branch=branch, detail=_gist(words), seconds=f"{seconds:g}")


def behind(ran: Ran) -> bool:
    """Whether a push came too late: somebody else was there first."""
    found = _REJECTED.search(ran.out.decode("utf-8", "replace"))
    return found is not None and any(sign in found[2] for sign in _BEHIND)


def rejected(ran: Ran, *, branch: str, secrets: Iterable[str] = ()) -> ClusterError | None:
    """Return why the server takes no such commit, in its own words; None when it is not the server's doing."""
    found = _REJECTED.search(ran.out.decode("utf-8", "replace"))
    if found is None:
        return None
    said = [line.strip() for line in clean(ran.words, secrets).split("\n") if line.startswith("remote:")]
    words = " ".join(one.removeprefix("remote:").strip() for one in said if one.removeprefix("remote:").strip())
    reason = clean(found[2], secrets)
    return error("git_rejected", branch=branch, detail=f"{reason}: {words}" if words else reason)


def clean(words: str, secrets: Iterable[str] = ()) -> str:
    """Return what the other side printed without terminal controls and without what could be secret."""
    for one in secrets:
        if len(one) > 3:
            words = words.replace(one, "…")
    words = _SECRET.sub("…", _ESCAPES.sub("", words)).replace("\r", "\n")
    return "".join(one if one.isprintable() or one == "\n" else " " for one in words)


def _gist(words: str) -> str:
    """Return the line that says most."""
    lines = [line.strip() for line in words.split("\n") if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "remote:"))]
    line = next(
        (one for one in telling if "Could not read from remote" not in one), (lines or ["it gives no reason"])[0]
    )
    return re.sub(r"^(fatal|error|remote|ssh): *", "", line).rstrip(" .:")
