"""ML-BOM check: does the vendor's bill of materials describe this very content, or else does ours follow the schema?"""

import re
from typing import Any

from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.interchange import bom
from catalog.interchange.validating import components, validate
from catalog.models import Attachment, Pin, Verdict, Version
from portal.errors import Invalid

KIND, TITLE, CONTENT, DAYS = "ml-bom", "ML-BOM", True, None
TOOL = "CycloneDX 1.7 strict schema"
MODEL = "machine-learning-model"
SHOWN = 20  # names of files in a report


def applies(version: Version) -> bool:
    """Every model with content of its own has one; it names the files that were read."""
    return has_content(version)


def check(case: Case) -> Finding:
    """Judge the vendor's ML-BOM where there is one: it must follow the schema, name this model, and give the hashes of
    the pinned files. Without one, the document that the portal makes must follow the schema.
    """
    added = bom.vendors(case.version)
    return _generated(case) if added is None else _vendors(case, added)


def _generated(case: Case) -> Finding:
    text = bom.text_of(case.version)
    try:
        document = validate(text)
    except Invalid as error:
        return _finding(Verdict.FAIL, f"The generated document is refused: {error.sentence}", {"source": "generated"})
    card = document["metadata"]["component"].get("modelCard", {})
    named = len(card.get("modelParameters", {}).get("datasets", []))
    metrics = len(card.get("quantitativeAnalysis", {}).get("performanceMetrics", []))
    report = {
        "source": "generated", "serial": document["serialNumber"], "files": len(document.get("components", [])),
        "datasets": named, "metrics": metrics, "sections": sorted(card),
    }  # fmt: skip
    return _finding(Verdict.PASS, f"Generated from the card and the pin: 1 model, {_count(named, 'data set')}.", report)


def _vendors(case: Case, added: Attachment) -> Finding:
    report: dict[str, Any] = {"source": "vendor", "name": added.name, "digest": added.digest}
    try:
        document = validate(added.content)
    except Invalid as error:
        return _finding(Verdict.FAIL, f"{added.name}: {error.sentence}", report)
    found = list(components(document))
    models = [item for item in found if item.get("type") == MODEL]
    report |= {"serial": document.get("serialNumber", ""), "models": [item["name"] for item in models][:SHOWN]}
    if not any(_names(item, case.version) for item in models):
        names = ", ".join(item["name"] for item in models)[:80]
        return _finding(Verdict.FAIL, f"{added.name} describes {names}, not {case.version.asset.name}.", report)
    revision = _revision(models)
    pin = bom.pin_of(case.version)
    if revision and pin and pin.revision and revision != pin.revision.lower():
        text = f"{added.name} is about revision {revision[:19]}, and {pin.revision[:19]} is pinned."
        return _finding(Verdict.FAIL, text, report)
    return _hashes(added, _stated(found), pin, report, card=any("modelCard" in item for item in models))


def _hashes(
    added: Attachment, stated: dict[str, str], pin: Pin | None, report: dict[str, Any], *, card: bool
) -> Finding:
    """Judge the hashes: one that differs fails, files that it does not name warn."""
    pinned = {item["path"]: item["sha256"] for item in pin.files} if pin else {}
    wrong = sorted(path for path, sha256 in stated.items() if path in pinned and pinned[path] != sha256)
    strange = sorted(path for path in stated if path not in pinned)
    matching = [path for path, sha256 in stated.items() if pinned.get(path) == sha256]
    report |= {
        "card": card, "matching": len(matching), "differing": wrong[:SHOWN], "not_pinned": strange[:SHOWN],
        "not_named": len(pinned) - len(matching) - len(wrong),
    }  # fmt: skip
    if wrong or (strange and not matching):
        what = f"gives another hash for {wrong[0][:80]}" if wrong else f"names {strange[0][:80]}, which is not pinned"
        return _finding(Verdict.FAIL, f"{added.name} {what}: it is about other content.", report)
    if not card:
        return _finding(Verdict.WARN, f"{added.name} holds no model card.", report)
    if not matching:
        return _finding(Verdict.WARN, f"{added.name} names this model and gives no hash of its files.", report)
    if strange:
        return _finding(Verdict.WARN, f"{added.name} also names {_count(len(strange), 'file')} not pinned.", report)
    files = _count(len(matching), "file")
    return _finding(Verdict.PASS, f"{added.name} describes this model and matches the digests of {files}.", report)


def _names(component: dict[str, Any], version: Version) -> bool:
    """Whether a component is this model, by its package URL or by its name."""
    place = version.source.partition("://")[2].partition("@")[0].lower()
    known = {version.asset.slug, version.asset.name, place, place.rpartition("/")[2], version.facts.get("model_id", "")}
    name, group = str(component.get("name", "")), str(component.get("group", ""))
    said = {name, name.rpartition("/")[2], f"{group}/{name}"}
    plain = {_plain(word) for word in known if word}
    package = str(component.get("purl", "")).partition("@")[0].lower()
    return bool(plain & {_plain(word) for word in said}) or (bool(place) and package == f"pkg:huggingface/{place}")


def _plain(word: str) -> str:
    return re.sub(r"[\s_]+", "-", word.strip().lower())


def _revision(models: list[dict[str, Any]]) -> str:
    """Return the commit that the package URL of a model names, or ""."""
    for item in models:
        commit = str(item.get("purl", "")).partition("@")[2].partition("?")[0].lower()
        if re.fullmatch(r"[0-9a-f]{40}", commit):
            return commit
    return ""


def _stated(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return path → SHA-256 of the files that the document names."""
    stated = {}
    for item in found:
        if item.get("type") in {"file", "data"}:
            for one in item.get("hashes", []):
                if one.get("alg") == "SHA-256":
                    stated[str(item["name"]).removeprefix("./")] = str(one.get("content", "")).lower()
    return stated


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _finding(verdict: Verdict, summary: str, report: dict[str, Any]) -> Finding:
    return Finding(KIND, verdict, summary[:300], TOOL, report)
