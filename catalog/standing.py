"""Whether the evidence of a version lets it in. Asked at submission, at approval, and by the pages."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from catalog import evidence
from catalog.models import Evidence, Pin, Verdict, Version

PASS, WARN, FAIL, MISSING, STALE = "pass", "warn", "fail", "missing", "stale"
GOOD = frozenset({PASS, WARN})


@dataclass(frozen=True)
class Judged:
    """One check of a version: pass, warn, fail, missing (no finding yet), or stale (expired, or about other content).

    `reason` is one sentence, `fix` what would help.
    """

    kind: str
    title: str
    standing: str
    reason: str
    fix: str = ""
    item: Evidence | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a plan keeps of it: the digest binds the finding."""
        found = self.item
        return {
            "kind": self.kind,
            "title": self.title,
            "standing": self.standing,
            "summary": found.summary if found else self.reason,
            "tool": found.tool if found else "",
            "digest": found.digest if found else "",
            "content": found.content if found else "",
        }


def judged(version: Version) -> list[Judged]:
    """Return every check that applies to `version`, and every one that has failed, worst first.

    Reads `version.evidence` and `version.pin` (prefetch or select them for many).
    """
    found, content = {item.kind: item for item in version.latest_evidence()}, pinned(version)
    wanted = [*evidence.drivers(version, content=False), *evidence.drivers(version, content=True)]
    lines = [_judge(driver, found.get(driver.KIND), content) for driver in wanted]
    known = {line.kind for line in lines}
    for kind, item in found.items():  # of a check that does not apply any more, or came with an extension
        if kind not in known and item.verdict == Verdict.FAIL:
            lines.append(Judged(kind, evidence.TITLES.get(kind, kind), FAIL, item.summary, item=item))
    order = (FAIL, MISSING, STALE, WARN, PASS)
    return sorted(lines, key=lambda line: order.index(line.standing))


def problems(version: Version) -> list[str]:
    """Return why `version` cannot be approved now, one sentence each, worst first; none: it can.

    Every check that applies must have come to a verdict about the content that is pinned now, must not have expired,
    and must not have failed. Reads as `judged` does.
    """
    return [f"{line.title}: {line.reason} {line.fix}".strip() for line in judged(version) if line.standing not in GOOD]


def pinned(version: Version) -> str:
    """Return the digest of the content that `version` is pinned to, or ""."""
    pin: Pin | None = getattr(version, "pin", None)
    return pin.digest if pin else ""


def _judge(driver: evidence.Driver, item: Evidence | None, content: str) -> Judged:
    kind, title = driver.KIND, driver.TITLE
    if item is None:
        return Judged(kind, title, MISSING, "there is no finding yet.", "Have it collected and wait for it.")
    if item.verdict == Verdict.FAIL:
        return Judged(kind, title, FAIL, item.summary, item=item)
    why = _stale(item, content, reads=driver.CONTENT)
    if why:
        return Judged(kind, title, STALE, why, "Have it collected again.", item)
    return Judged(kind, title, WARN if item.verdict == Verdict.WARN else PASS, item.summary, item=item)


def _stale(item: Evidence, content: str, *, reads: bool) -> str:
    if item.expires_at is not None and item.expires_at <= timezone.now():
        return f"the finding has expired on {item.expires_at:%Y-%m-%d}."
    if reads and item.content != content:
        return "the finding is about other content than what is pinned now."
    return ""
