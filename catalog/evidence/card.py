"""Model card check: are the sections and fields there that a person needs to decide, was the model evaluated, and is
something marked unverified?
"""

from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.interchange import cards
from catalog.models import Kind, Verdict, Version

KIND, TITLE, CONTENT, DAYS = "card", "Card", False, None
TOOL = "gatehouse card check 3"
SECTIONS = ("Intended use", "Limitations")  # headings of the description
FIELDS = ("publisher", "summary", "tasks")


def applies(version: Version) -> bool:
    """Every asset has a card."""
    return True


def check(case: Case) -> Finding:
    """Judge the card: a missing section or field fails; values that nobody has verified, and a model with weights but
    without a table of evaluations, warn.
    """
    version, asset = case.version, case.version.asset
    sections = cards.sections(asset.description)
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
    evaluations = cards.evaluations(asset.description)
    report = {
        "text": asset.card_digest(),  # a finding is about the words that were judged
        "required_sections": list(SECTIONS),
        "required_fields": list(fields),
        "found_sections": sorted(sections),
        "missing": missing,
        "unverified": unverified,
        "evaluations": evaluations,
        "indirect": version.facts.get("indirect", []),
        "recheck": version.facts.get("recheck", ""),
    }
    if missing:
        return Finding("card", Verdict.FAIL, f"Missing: {', '.join(missing)}."[:300], TOOL, report)
    gaps = [f"not verified: {', '.join(unverified)}"] if unverified else []
    if has_content(version) and not evaluations:
        gaps.append("no table under a heading like Evaluation or Benchmarks")
    if gaps:
        text = f"Use, limits and sources are stated; {'; '.join(gaps)}."
        return Finding("card", Verdict.WARN, text[:300], TOOL, report)
    return Finding("card", Verdict.PASS, "Use, limits and sources are stated.", TOOL, report)
