"""Upstream check: how the project behind an asset works (OpenSSF Scorecard) and who built it (SLSA provenance), from
documents that somebody added.
"""

import json
from importlib.metadata import version as version_of
from typing import Any

from django.conf import settings

from catalog.evidence import attachments, dsse, trust
from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.models import Attachment, Pin, Verdict, Version
from portal.errors import Invalid

KIND, TITLE, CONTENT, DAYS = "upstream", "Upstream", False, 30
TOOL = f"gatehouse upstream check 1, cryptography {version_of('cryptography')}"
PREDICATE = "https://slsa.dev/provenance/v1"
# What a build may have been given. A key that nobody here knows may change what was built.
PARAMETERS = {"workflow", "source", "repository", "ref", "inputs", "vars", "config", "entryPoint"}
_WORST = {Verdict.FAIL: 0, Verdict.WARN: 1, Verdict.PASS: 2}
_Part = tuple[Verdict, str, dict[str, Any]]


def applies(version: Version) -> bool:
    """Nobody has to add such a document."""
    return attachments.present(version, "scorecard", "provenance")


def check(case: Case) -> Finding:
    """Judge the newest document of each kind; the worst counts."""
    parts: dict[str, _Part] = {}
    for kind, judge in (("scorecard", _scorecard), ("provenance", _provenance)):
        for item in attachments.newest(case.version, kind):
            parts[kind] = _judged(judge, item, case)
    if not parts:
        return Finding(KIND, Verdict.WARN, "Nobody added a Scorecard result or provenance.", TOOL)
    verdict = min((part[0] for part in parts.values()), key=_WORST.__getitem__)
    said = [part[1] for part in sorted(parts.values(), key=lambda part: _WORST[part[0]])]
    report = {kind: {"verdict": part[0].value, "summary": part[1], **part[2]} for kind, part in parts.items()}
    return Finding(KIND, verdict, " ".join(said)[:300], TOOL, report)


def _judged(judge: Any, item: Attachment, case: Case) -> _Part:
    try:
        attachments.CHECKS[item.kind](item.content)
        part: _Part = judge(attachments.parsed(item.content), case)
    except Invalid as error:  # it was taken by an earlier release
        return Verdict.FAIL, f"{item.name}: {error.sentence}", {"document": item.digest}
    return part[0], part[1], {"document": item.digest, **part[2]}


# --- Scorecard --------------------------------------------------------------------------------------------------------


def _scorecard(document: dict[str, Any], case: Case) -> _Part:
    """Judge a Scorecard: −1 means that it came to no score, not that the score is bad."""
    score, floor = document["score"], settings.SCORECARD_FLOOR
    checks = {item["name"]: item["score"] for item in document["checks"]}
    report = {
        "project": document["repo"]["name"],
        "commit": str(document["repo"].get("commit", ""))[:80],
        "date": document["date"],
        "tool": f"scorecard {document['scorecard']['version']}",
        "score": score,
        "floor": floor,
        "checks": checks,
        "inconclusive": sorted(name for name, value in checks.items() if value == -1),
    }
    project = document["repo"]["name"][:100]
    if score == -1:
        return Verdict.WARN, f"Scorecard of {project} is inconclusive.", report
    if score < floor:
        return Verdict.WARN, f"Scorecard of {project} is {score:g}, below {floor:g}.", report
    return Verdict.PASS, f"Scorecard of {project} is {score:g} of 10.", report


# --- Provenance -------------------------------------------------------------------------------------------------------


def _provenance(document: dict[str, Any], case: Case) -> _Part:
    """Judge SLSA provenance in the order that its specification gives: signature, subject, builder, parameters."""
    envelope = attachments.envelope(document)
    signer = dsse.signer(envelope, trust.keys())
    if not signer:
        return Verdict.FAIL, "No key that this installation trusts signed the provenance.", {}
    statement = json.loads(attachments.decoded(envelope, "payload"))
    report: dict[str, Any] = {"signer": signer, "predicate": statement["predicateType"]}
    if statement["predicateType"] != PREDICATE:
        return Verdict.FAIL, f"The statement is no SLSA provenance ({PREDICATE}).", report
    try:
        definition, builder = statement["predicate"]["buildDefinition"], _builder(statement)
        parameters = dict(definition["externalParameters"])
        report |= {"builder": builder, "build_type": str(definition["buildType"])[:300], "parameters": parameters}
        problem = (
            _subjects(statement["subject"], case, report)
            or _unknown_builder(builder)
            or _parameters(parameters, case.version)
        )
    except (KeyError, TypeError, ValueError):
        return Verdict.FAIL, "The provenance lacks what SLSA version 1 asks for.", report
    if problem:
        return Verdict.FAIL, problem, report
    return Verdict.PASS, f"Built by {builder[:120]}, signed by {signer}.", report


def _builder(statement: dict[str, Any]) -> str:
    return str(statement["predicate"]["runDetails"]["builder"]["id"])[:300]


def _subjects(subjects: list[dict[str, Any]], case: Case, report: dict[str, Any]) -> str:
    """Return why the subjects are not what this version is, or ""."""
    built = {str(item["digest"]["sha256"]): str(item.get("name", ""))[:200] for item in subjects}
    known = _digests(case.version, case.pin)
    report["subjects"] = len(built)
    if not built:
        return "The provenance names nothing that was built."
    if not known and has_content(case.version):
        return "The content of the source was not read yet, so nobody can tell what the provenance is about."
    strange = sorted(name for digest, name in built.items() if digest not in known)
    if strange:
        return f"The provenance is about {strange[0][:100]}, which is not this version."
    report["uncovered"] = len(known - built.keys())
    return ""


def _digests(version: Version, pin: Pin | None) -> set[str]:
    """Return the SHA-256 of all that a version consists of."""
    known = {str(item.get("digest", "")) for item in version.facts.get("packages", [])}
    if pin is not None and pin.digest:
        known |= {item["sha256"] for item in pin.files} | {pin.revision}
    found = {item.removeprefix("sha256:") for item in known}
    return {item for item in found if len(item) == 64}


def _unknown_builder(builder: str) -> str:
    if builder in settings.SLSA_BUILDERS:
        return ""
    return f"The builder {builder[:150]} is not one of those in GATEHOUSE_SLSA_BUILDERS."


def _parameters(parameters: dict[str, Any], version: Version) -> str:
    strange = sorted(parameters.keys() - PARAMETERS)
    if strange:
        return f"The build was given {strange[0][:60]!r}, which nobody here knows."
    workflow, wanted = parameters.get("workflow"), str(version.facts.get("repository", ""))
    named = workflow.get("repository") if isinstance(workflow, dict) else None
    named = named or parameters.get("repository") or parameters.get("source")
    if wanted and isinstance(named, str) and _place(named) != _place(wanted):
        return f"It was built from {named[:100]}, not from {wanted[:100]}."
    return ""


def _place(address: str) -> str:
    """Return a repository's address without what only spells it otherwise."""
    bare = address.removeprefix("git+").partition("@")[0].partition("#")[0]
    return bare.rstrip("/").removesuffix(".git").lower()
