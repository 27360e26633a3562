"""What the catalog's pages show, worked out before the template: chips, specs, trust lines, tables."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse

from catalog import evidence, fit
from catalog.evidence.licence import short_name
from catalog.models import Access, Asset, Evidence, HardwareProfile, Kind, Verdict, Version, VersionState
from portal.templatetags.gatehouse import bytes_h, money

Cell = dict[str, Any]
STATE_LOOK = {
    VersionState.APPROVED: ("green", "ok"),
    VersionState.DEPRECATED: ("orange", "warn"),
    VersionState.IN_REVIEW: ("blue", "view"),
    VersionState.DRAFT: ("grey", "draft"),
    VersionState.RETIRED: ("grey", "retired"),
    VersionState.BLOCKED: ("red", "ban"),
}
VERDICT_LOOK = {Verdict.PASS: ("green", "ok"), Verdict.WARN: ("orange", "warn"), Verdict.FAIL: ("red", "err")}
HINTS = (
    ("read_only_hint", {True: ("read only", "teal", "view"), False: ("writes", "orange", "warn")}),
    ("destructive_hint", {True: ("destructive", "red", "err")}),
    ("idempotent_hint", {True: ("idempotent", "grey", "")}),
    ("open_world_hint", {True: ("reaches outside", "grey", "ext")}),
)


def state_chip(state: str, title: str = "") -> Cell:
    """Return the chip of a version's state."""
    colour, icon = STATE_LOOK[VersionState(state)]
    return {"label": VersionState(state).label, "colour": colour, "icon": icon, "kind": "filled", "title": title}


def kind_chip(kind: str) -> Cell:
    """Return the chip that says what an asset is."""
    icon = "mcp" if kind == Kind.MCP_SERVER else "model"
    return {"label": Kind(kind).label, "colour": "grey", "icon": icon, "kind": "outline"}


def listed_chip(asset: Asset) -> Cell | None:
    """Return the chip of an asset that is not for everyone."""
    if asset.access == Access.EVERYONE:
        return None
    title = "Only those who are listed see it and may ask for it."
    return {"label": "Not for everyone", "colour": "orange", "icon": "lock", "kind": "outline", "title": title}


def verdict_chip(verdict: str) -> Cell:
    """Return the chip of a finding."""
    colour, icon = VERDICT_LOOK[Verdict(verdict)]
    return {"label": Verdict(verdict).label, "colour": colour, "icon": icon, "kind": "filled"}


def demo_chip(version: Version) -> Cell | None:
    """Return the chip that labels a version which only the demo engine serves."""
    if not version.runtime.get("demo"):
        return None
    title = "Served by the demo engine: the shape of the answers is real, the text is not this model's."
    return {"label": "Demo engine", "colour": "purple", "icon": "info", "kind": "outline", "title": title}


def detail_url(asset: Asset, version: Version | None = None, tab: str = "") -> str:
    """Return the address of an asset's page."""
    pairs = [f"version={version.version}"] if version else []
    pairs += [f"tab={tab}"] if tab else []
    return reverse("catalog_detail", args=[asset.slug]) + (f"?{'&'.join(pairs)}" if pairs else "")


def ticket(version: Version) -> str:
    """Return the name of a version in the address of a comparison: slug@version."""
    return f"{version.asset.slug}@{version.version}"


def request_url(version: Version) -> str:
    """Return the address of the request form with this version chosen."""
    return f"{reverse('request_new')}?asset={version.asset.slug}&version={version.version}"


def requestable(version: Version | None, allowed: bool) -> bool:
    """Whether the button to request is shown: approved models, to people who may ask in some project."""
    return (
        allowed and version is not None and version.state == VersionState.APPROVED and version.asset.kind == Kind.MODEL
    )


def trust(version: Version) -> list[Cell]:
    """Return the trust line: one short fact per finding, and when the newest was collected."""
    found = version.latest_evidence()
    line: list[Cell] = []
    for item in found:
        tone = VERDICT_LOOK[Verdict(item.verdict)]
        words = _trust_words(item, version)
        line.append({"icon": "licence" if item.kind == "licence" and tone[0] == "green" else tone[1],
                     "tone": tone[0], "text": words, "title": item.summary})  # fmt: skip
    if found:
        line.append({"icon": "clock", "tone": "", "text": "checked", "at": max(item.collected_at for item in found)})
    return line


def _trust_words(item: Evidence, version: Version) -> str:
    if item.kind == "licence":
        return short_name(version.licence)
    words = {
        "pin": {Verdict.PASS: "Pinned", Verdict.WARN: "Not pinned", Verdict.FAIL: "Not pinned"},
        "card": {Verdict.PASS: "Card complete", Verdict.WARN: "Facts unverified", Verdict.FAIL: "Card incomplete"},
    }
    return words.get(item.kind, {}).get(Verdict(item.verdict), f"{title(item.kind)}: {item.verdict}")


def title(kind: str) -> str:
    """Return the name of a kind of evidence."""
    return evidence.TITLES.get(kind, kind.replace("-", " ").capitalize())


def card(asset: Asset, version: Version | None, profiles: Sequence[HardwareProfile], may_request: bool) -> Cell:
    """Return one card, or one line of the table, of the catalog."""
    if version is not None:
        version.asset = asset  # both are in hand: no query for it
    return {
        "icon": "mcp" if asset.kind == Kind.MCP_SERVER else "model",
        "name": asset.name,
        "url": detail_url(asset),
        "kind": Kind(asset.kind).label,
        "by": " · ".join(part for part in (asset.publisher, version.version if version else "") if part),
        "chip": state_chip(version.state if version else VersionState.DRAFT, version.state_reason if version else ""),
        "summary": asset.summary,
        "specs": specs(asset, version, profiles),
        "trust": trust(version) if version else [],
        "demo": demo_chip(version) if version else None,
        "request_url": request_url(version) if version and requestable(version, may_request) else "",
        "licence": short_name(version.licence) if version else "–",
        "ticket": ticket(version) if version else "",
    }


def specs(asset: Asset, version: Version | None, profiles: Sequence[HardwareProfile]) -> list[tuple[str, str, str]]:
    """Return three facts for a card: (name, value, explanation)."""
    if version is None:
        return []
    if asset.kind == Kind.MCP_SERVER or not version.needs:
        facts = version.facts
        return [
            ("Tools listed", str(len(facts.get("tools", []))), "Tools of this entry; the server may have more."),
            ("Transport", transport(version), ""),
            ("Sign-in", sign_in(version), ""),
        ]
    context = min(fit.DEFAULT_CONTEXT, int(version.needs["max_context_tokens"]))
    fitting = fit.profiles_that_fit(
        version.needs, profiles, context, fit.DEFAULT_CONCURRENCY, settings.GPU_MEMORY_UTILISATION
    )
    asked = f"First profile that fits {context:,} tokens × {fit.DEFAULT_CONCURRENCY} calls."
    return [
        ("Parameters", fit.parameters_text(int(version.needs["parameters"])), ""),
        ("Context", f"{int(version.needs['max_context_tokens']):,}", "The longest context, in tokens."),
        ("Fits from", fitting[0][0].name if fitting else "no profile", asked),
    ]


def transport(version: Version) -> str:
    """Return how an MCP server is reached, in words."""
    names = {item["type"] for item in version.facts.get("remotes", [])}
    names |= {item.get("transport", "stdio") for item in version.facts.get("packages", [])}
    words = {"streamable-http": "HTTP", "sse": "SSE", "stdio": "stdio"}
    return ", ".join(words.get(name, name) for name in sorted(names)) or "–"


def sign_in(version: Version) -> str:
    """Return how callers of an MCP server sign in, in words."""
    auth = version.facts.get("auth")
    if not auth:
        return "–"
    kinds = ", ".join(kind.replace("-", " ") for kind in auth.get("kinds", []) if kind != "none")
    return (kinds or "needed") if auth.get("required") else "not needed"


def evidence_rows(found: Iterable[Evidence]) -> list[Cell]:
    """Return the table of evidence with the raw reports."""
    return [
        {
            "title": title(item.kind),
            "tool": item.tool,
            "chip": verdict_chip(item.verdict),
            "summary": item.summary,
            "at": item.collected_at,
            "report": json.dumps(item.report, indent=2, ensure_ascii=False, sort_keys=True),
        }
        for item in found
    ]


def fit_rows(version: Version, profiles: Iterable[HardwareProfile], context: int, calls: int) -> list[Cell]:
    """Return the table “what it needs”: one line per profile with arithmetic, price and verdict."""
    result = []
    for profile in profiles:
        plan = fit.memory(version.needs, profile, context, calls, settings.GPU_MEMORY_UTILISATION)
        if not plan.fits:
            words = "Weights do not fit" if plan.weights > plan.limit else "Does not fit"
            chip = {"label": words, "colour": "red", "icon": "err", "kind": "filled"}
        elif plan.share_percent > 90:
            chip = {"label": "Fits, tight", "colour": "orange", "icon": "warn", "kind": "filled"}
        else:
            chip = {"label": "Fits", "colour": "green", "icon": "ok", "kind": "filled"}
        result.append(
            {
                "name": profile.name,
                "needed": bytes_h(plan.needed),
                "limit": bytes_h(plan.limit),
                "limit_formula": plan.limit_formula,
                "price": money(profile.price_per_hour * settings.HOURS_PER_MONTH, profile.currency),
                "chip": chip,
            }
        )
    return result


def tool_rows(version: Version) -> list[Cell]:
    """Return the tools of an MCP server with their hints; a hint that nobody gave is said, since silence is not
    safety.
    """
    result = []
    for tool in version.facts.get("tools", []):
        chips = [
            {"label": words[0], "colour": words[1], "icon": words[2], "kind": "outline"}
            for name, looks in HINTS
            if (words := looks.get(tool.get(name))) is not None
        ]
        if tool.get("read_only_hint") is None and tool.get("destructive_hint") is None:
            chips.insert(0, {"label": "no hint given", "colour": "orange", "icon": "warn", "kind": "outline"})
        note = " ".join(part for part in (tool.get("description", ""), tool.get("note", "")) if part)
        inputs = ", ".join(tool.get("inputs", []))
        result.append({"name": tool["name"], "note": note, "inputs": inputs, "chips": chips})
    return result
