"""Whether the evidence of a version lets it in. Asked at submission, at approval, and by the pages."""

from django.utils import timezone

from catalog import evidence
from catalog.models import Evidence, Pin, Verdict, Version


def problems(version: Version) -> list[str]:
    """Return why `version` cannot be approved now, one sentence each, worst first; none: it can.

    Every check that applies must have come to a verdict about the content that is pinned now, must not have expired,
    and must not have failed. Reads `version.evidence` and `version.pin` (prefetch or select them for many).
    """
    found, content = {item.kind: item for item in version.latest_evidence()}, pinned(version)
    said = [
        f"{evidence.TITLES.get(kind, kind)}: {item.summary}"
        for kind, item in found.items()
        if item.verdict == Verdict.FAIL
    ]
    wanted = [*evidence.drivers(version, content=False), *evidence.drivers(version, content=True)]
    for driver in wanted:
        item = found.get(driver.KIND)
        if item is None:
            said.append(f"{driver.TITLE}: there is no finding yet. Have it collected and wait for it.")
        elif item.verdict != Verdict.FAIL and (why := _stale(item, content, reads=driver.CONTENT)):
            said.append(f"{driver.TITLE}: {why}")
    return said


def pinned(version: Version) -> str:
    """Return the digest of the content that `version` is pinned to, or ""."""
    pin: Pin | None = getattr(version, "pin", None)
    return pin.digest if pin else ""


def _stale(item: Evidence, content: str, *, reads: bool) -> str:
    if item.expires_at is not None and item.expires_at <= timezone.now():
        return f"the finding has expired on {item.expires_at:%Y-%m-%d}. Have it collected again."
    if reads and item.content != content:
        return "the finding is about other content than what is pinned now. Have it collected again."
    return ""
