"""What the catalog's pages show, worked out before the template: chips, specs, trust lines, tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

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
# What the trust line says of each verdict; of other kinds it says what does not pass.
TRUST: dict[str, dict[Verdict, str]] = {
    "signature": {Verdict.PASS: "Signed", Verdict.WARN: "Not signed", Verdict.FAIL: "Signature wrong"},
    "files": {Verdict.PASS: "Scan clean", Verdict.WARN: "Scan with findings", Verdict.FAIL: "Scan failed"},
    "licence": {},
    "pin": {Verdict.PASS: "Pinned", Verdict.WARN: "Not pinned"},
    "tools": {Verdict.PASS: "Tools pinned", Verdict.WARN: "Tools with remarks"},
    "card": {Verdict.PASS: "Card complete", Verdict.WARN: "Card with gaps", Verdict.FAIL: "Card incomplete"},
}
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
    kind = "kind=mcp-access&" if version.asset.kind == Kind.MCP_SERVER else ""
    return f"{reverse('request_new')}?{kind}asset={version.asset.slug}&version={version.version}"


def requestable(version: Version | None, allowed: bool) -> bool:
    """Whether the button to request is shown: approved versions, to people who may ask in some project."""
    return allowed and version is not None and version.state == VersionState.APPROVED


def trust(version: Version) -> list[Cell]:
    """Return the trust line: one short fact per finding that people ask for, what else does not pass, and when it was
    last verified.
    """
    found = {item.kind: item for item in version.latest_evidence()}
    order = [*(kind for kind in TRUST if kind in found), *(kind for kind in found if kind not in TRUST)]
    line: list[Cell] = []
    for kind in order:
        item = found[kind]
        if kind not in TRUST and item.verdict == Verdict.PASS and not expired(item):
            continue  # the tab says it; the line is short
        verdict = Verdict(item.verdict)
        colour, icon = VERDICT_LOOK[Verdict.WARN if expired(item) and verdict == Verdict.PASS else verdict]
        if colour == "green":
            icon = {"licence": "licence", "signature": "signed"}.get(kind, icon)
        line.append({"icon": icon, "tone": colour, "text": _trust_words(item, version), "title": item.summary})
    if found:
        at = max(item.collected_at for item in found.values())
        line.append({"icon": "clock", "tone": "", "text": "verified", "at": at})
    return line


def _trust_words(item: Evidence, version: Version) -> str:
    if item.kind == "licence":
        return short_name(version.licence)
    words = TRUST.get(item.kind, {}).get(Verdict(item.verdict), f"{title(item.kind)}: {item.verdict}")
    return f"{words}, expired" if expired(item) else words


def expired(item: Evidence) -> bool:
    """Whether a finding counts no more."""
    return item.expires_at is not None and item.expires_at <= timezone.now()


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


def evidence_row(version: Version, kind: str, item: Evidence | None, pinned: str) -> Cell:
    """Return one line of the table of evidence, without the raw report; `pinned` is the digest of the content now."""
    row: Cell = {"kind": kind, "title": title(kind), "tool": "", "summary": "Nothing was found out yet.", "at": None}
    if item is None:
        return row | {"chip": {"label": "Not collected", "colour": "grey", "icon": "pending", "kind": "filled"}}
    return row | {
        "tool": item.tool,
        "chip": verdict_chip(item.verdict),
        "summary": item.summary,
        "at": item.collected_at,
        "expires_at": item.expires_at,
        "expired": expired(item),
        "stale": bool(item.content) and item.content != pinned,
        "url": reverse("catalog_report", args=[version.asset.slug, version.version, kind]),
    }


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


def hint_chips(hints: Mapping[str, Any]) -> list[Cell]:
    """Return what a tool may do by its hints; a hint that nobody gave is said, since silence is not safety."""
    chips = [
        {"label": words[0], "colour": words[1], "icon": words[2], "kind": "outline"}
        for name, looks in HINTS
        if (hint := hints.get(name)) is not None and (words := looks.get(hint)) is not None
    ]
    if hints.get("read_only_hint") is None and hints.get("destructive_hint") is None:
        chips.insert(0, {"label": "no hint given", "colour": "orange", "icon": "warn", "kind": "outline"})
    return chips
