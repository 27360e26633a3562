"""Model card check: are the sections and fields there that a person needs to decide, and is something marked
unverified?
"""

import re

from catalog.evidence.case import Case
from catalog.evidence.finding import Finding
from catalog.models import Kind, Verdict, Version

KIND, TITLE, CONTENT, DAYS = "card", "Card", False, None
TOOL = "gatehouse card check 1"
SECTIONS = ("Intended use", "Limitations")  # headings of the description
FIELDS = ("publisher", "summary", "tasks")

_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def _sections(markdown: str) -> dict[str, str]:
    """Return heading → text below it, headings in lower case."""
    parts = _HEADING.split(markdown)
    return {heading.strip().lower(): text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def applies(version: Version) -> bool:
    """Every asset has a card."""
    return True


def check(case: Case) -> Finding:
    """Judge the card: a missing section or field fails, values that nobody has verified warn."""
    version, asset = case.version, case.version.asset
    sections = _sections(asset.description)
    fields: tuple[str, ...] = FIELDS
    if not version.source.startswith("builtin://"):
        fields += ("homepage",)
    if asset.kind == Kind.MODEL:
        fields += ("languages",)
    missing = [f"section “{name}”" for name in SECTIONS if not sections.get(name.lower())]
    missing += [f"field {name}" for name in fields if not getattr(asset, name)]
    if not version.facts.get("sources"):
        missing.append("sources of the facts")
    unverified = [str(item) for item in version.facts.get("unverified", [])]
    report = {
        "required_sections": list(SECTIONS),
        "required_fields": list(fields),
        "found_sections": sorted(sections),
        "missing": missing,
        "unverified": unverified,
        "indirect": version.facts.get("indirect", []),
        "recheck": version.facts.get("recheck", ""),
    }
    if missing:
        return Finding("card", Verdict.FAIL, f"Missing: {', '.join(missing)}."[:300], TOOL, report)
    if unverified:
        text = f"Use, limits and sources are stated; not verified: {', '.join(unverified)}."
        return Finding("card", Verdict.WARN, text[:300], TOOL, report)
    return Finding("card", Verdict.PASS, "Use, limits and sources are stated.", TOOL, report)
