"""Tools check of an MCP server: what does it offer, is that what was pinned, and does it say things to the model that
people do not read?

Asks the server over streamable HTTP, out of process. A server that is started as a program is described, never run:
listing its tools would execute a stranger's code.
"""

import json
from typing import Any

from django.db import transaction
from django.urls import reverse

from catalog.evidence.case import Case
from catalog.evidence.finding import Finding, storable
from catalog.mcp import definitions, inspect, lint
from catalog.mcp.definitions import Definition, Difference, Unfit
from catalog.mcp.granted import living_grants
from catalog.models import Kind, Verdict, Version
from projects.notify.audience import governance_leads, owners, platform_engineers
from projects.notify.services import tell

KIND, TITLE, CONTENT = "tools", "Tool definitions", False
DAYS: int | None = 7
WORKER = True
TOOL = "gatehouse MCP inspection 1"
CHANGED = "tool_definition_changed"
MOST_RAW = 400_000  # characters of definitions in a report; beyond it stand names and digests
NOT_RUN = "Described by its publisher, not inspected: what is started as a program is not run here."
NOT_ASKED = "Described by its publisher, not inspected: the server was not asked yet."


def applies(version: Version) -> bool:
    """Every MCP server that says where it answers, or what runs it."""
    return version.asset.kind == Kind.MCP_SERVER and bool(_remotes(version) or version.facts.get("packages"))


def check(case: Case) -> Finding:
    """Ask the server, pin what it offers the first time, and compare with the pins afterwards."""
    version = case.version
    url = address(version)
    if not url:
        return described(version)
    outcome = inspect.ask(url)
    if outcome.code:
        return _not_inspected(version, url, outcome)
    found = dict(outcome.found)
    listed = {**found, "url": url, "code": ""}
    try:
        now = definitions.checked(found.pop("tools", []))
    except Unfit as error:
        return _finding(Verdict.FAIL, str(error), {**listed, "tools": [], "code": "unfit"})
    return _judged(version, url, found, now)


def address(version: Version) -> str:
    """Return the address at which the server can be asked, or ""."""
    for item in _remotes(version):
        if item["type"] == "streamable-http" and "{" not in item["url"]:
            return str(item["url"])
    return ""


def described(version: Version, sentence: str = "") -> Finding:
    """Return the finding about a server that is not asked: the tools are the publisher's word."""
    if not sentence:
        remotes = [item["type"] for item in _remotes(version)]
        sentence = NOT_RUN if not remotes else (
            "Described by its publisher, not inspected: its address has a part that each caller fills in, "
            "or speaks only SSE, which the portal does not."
        )  # fmt: skip
    names = [tool["name"] for tool in version.facts.get("tools", [])]
    return _finding(Verdict.WARN, sentence, {"code": "described", "described": names, "tools": []})


def _remotes(version: Version) -> list[dict[str, Any]]:
    return list(version.facts.get("remotes", []))


def _not_inspected(version: Version, url: str, outcome: inspect.Outcome) -> Finding:
    """Return the finding about a server that did not show its tools.

    Nothing unknown is let in: it fails until it was seen once. Later it warns, since what was pinned still stands.
    """
    report = {"code": outcome.code, "url": url, "tools": [], **outcome.found}
    if outcome.code == "sign_in":
        names = [tool["name"] for tool in version.facts.get("tools", [])]
        return _finding(Verdict.WARN, outcome.sentence, report | {"described": names})
    known = version.tools.exists() or version.approved_at is not None
    tail = " Its pinned definitions stand." if version.tools.exists() else ""
    verdict = Verdict.WARN if known and outcome.code in {"slow", "unreachable", "broke_off"} else Verdict.FAIL
    return _finding(verdict, f"Not inspected. {outcome.sentence}{tail}", report)


def _judged(version: Version, url: str, found: dict[str, Any], now: dict[str, Definition]) -> Finding:
    remarks = lint.remarks(now, str(found.get("instructions", "")))
    digests = {name: definitions.digest(one) for name, one in now.items()}
    report: dict[str, Any] = {
        **found, "url": url, "code": "", "set_digest": definitions.whole_digest(digests),
        "tools": [{"name": name, "digest": digests[name], **definitions.hints(one)} for name, one in now.items()],
        "lint": [remark.json() for remark in remarks],
    }  # fmt: skip
    failed = [remark for remark in remarks if remark.verdict == Verdict.FAIL]
    if not failed:
        definitions.pin(version, now)
    pinned = definitions.pinned(version)
    if pinned and (change := definitions.difference(pinned, now)):
        _tell(version, change, report["set_digest"])
        return _finding(Verdict.FAIL, _changed(change), report | {"code": CHANGED} | _raw(change))
    if failed:
        first = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return _finding(Verdict.FAIL, f"{first.title} in {first.tool}{more}.", report | {"definitions": _few(now)})
    count = f"{len(now)} tool{'' if len(now) == 1 else 's'}"
    if not now:
        return _finding(Verdict.WARN, "It answers and lists no tools.", report)
    if not pinned:
        text = f"It lists {count}, but was approved before it was asked: none is pinned. Propose a new version."
        return _finding(Verdict.WARN, text, report)
    if remarks:
        text = f"{count}, every one as pinned. {remarks[0].title} in {remarks[0].tool}."
        return _finding(Verdict.WARN, text, report)
    return _finding(Verdict.PASS, f"{count}, every one as pinned.", report)


def _changed(change: Difference) -> str:
    """Return the sentence that names what nobody has reviewed."""
    parts = [("changed", list(change.changed)), ("new", list(change.new)), ("missing", list(change.missing))]
    words = [
        f"{word} {', '.join(definitions.shown({'name': name}) for name in names)}" for word, names in parts if names
    ]
    return f"It answers with other tools than were pinned: {'; '.join(words)}."


def _raw(change: Difference) -> dict[str, Any]:
    """Return both sides of what changed, for the diff; only names where that would be too much."""
    raw: dict[str, Any] = {
        "changed": {name: {"before": before, "after": after} for name, (before, after) in change.changed.items()},
        "new": change.new,
        "missing": change.missing,
    }
    if len(json.dumps(raw)) <= MOST_RAW:
        return raw
    return {part: {name: {} for name in names} for part, names in raw.items()}


def _few(now: dict[str, Definition]) -> dict[str, Definition]:
    return now if len(json.dumps(now)) <= MOST_RAW else {}


def _tell(version: Version, change: Difference, digest: str) -> None:
    """Tell stewards and the owners of projects that use it; once for each set of definitions."""
    if version.approved_at is None:
        return
    with transaction.atomic():
        used = living_grants().filter(asset=version.asset_id).select_related("project")
        people = [*platform_engineers(), *governance_leads(), *(one for row in used for one in owners(row.project))]
        tell(
            "asset.tools_changed",
            people,
            title=f"{version.asset.name} {version.version} answers with other tools than were reviewed.",
            text=_changed(change),
            url=f"{reverse('catalog_detail', args=[version.asset.slug])}?version={version.version}&tab=tools",
            about=("asset", version.asset.slug),
            once=f"tools:{version.pk}:{digest}",
            data={"asset": version.asset.slug, "version": version.version},
        )


def _finding(verdict: Verdict, summary: str, report: dict[str, Any]) -> Finding:
    return Finding(KIND, verdict, summary[:300], TOOL, storable(report))
