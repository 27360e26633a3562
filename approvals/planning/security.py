"""The security half of a plan: data, exposure, callers, egress, licence, evidence. Facts only, each with its sentence.

Callers are numbers, never names: everybody who may see a request reads its plan.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils import timezone

from approvals.models import DataClassification
from approvals.planning.around import Around, around
from approvals.policies import facts
from approvals.verdicts import WAIVED, Check
from catalog import cells
from catalog.evidence.licence import short_name
from catalog.evidence.licence import terms as terms_of
from catalog.models import Version
from endpoints.models import Cluster, Endpoint

NEVER_KEPT = "The portal counts calls and tokens; it keeps no prompt and no answer."
CLASSES = {
    DataClassification.PUBLIC: "Anybody may read them.",
    DataClassification.INTERNAL: "Everybody in the organisation may read them, nobody outside.",
    DataClassification.CONFIDENTIAL: "Only those who need them may read them.",
    DataClassification.RESTRICTED: "Law or contract says who may read them.",
}
PLACES = {
    "dev": "dev is for trying.",
    "staging": "staging is for rehearsing what prod will do.",
    "prod": "prod serves people.",
}
# What keeps an engine from reaching others, by cluster driver: what is enforced is said, and nothing else.
EGRESS = {
    "local": (
        False,
        "Not enforced: engines are processes on the portal's own machine and reach whatever it reaches.",
    ),
}
UNKNOWN_EGRESS = (False, "Not known to the portal: ask who runs the cluster.")


def security(
    version: Version,
    found: Around,
    *,
    cluster: Cluster | None = None,
    environment: str = "",
    classification: str = "",
    exposure: dict[str, Any] | None = None,
    callers: bool = True,
) -> dict[str, Any]:
    """Return the security half of a plan about `version`, with what was `found` around its project; what does not apply
    is left out (one query at most: the findings, when they are not known yet). `callers`: whether keys call it.
    """
    parts: dict[str, Any] = {
        "data": data(classification, environment) if classification or environment else None,
        "exposure": exposure,
        "callers": found.callers.json() if callers else None,
        "egress": egress(cluster) if environment else None,
    }
    known = findings(version)
    return {name: part for name, part in parts.items() if part is not None} | {
        "licence": licence(version, found, known),
        "evidence": known,
        "waivers": [],
    }


def of_endpoint(version: Version, endpoint: Endpoint) -> dict[str, Any]:
    """Return the security half of a plan for `version` on an endpoint that is there (two queries at most)."""
    return security(
        version,
        around(endpoint.project, terms_of(version.licence), endpoint=endpoint),
        cluster=endpoint.cluster,
        environment=endpoint.environment,
        classification=endpoint.data_classification,
        exposure=exposed(endpoint),
    )


def data(classification: str, environment: str) -> dict[str, Any]:
    """Return what the data class means, and what it means there."""
    if classification not in DataClassification.values:
        return {"class": "", "environment": environment, "sentence": f"No data class is named. {NEVER_KEPT}"}
    words = [CLASSES[DataClassification(classification)], PLACES.get(environment, ""), NEVER_KEPT]
    if environment == "dev" and facts.LEVELS[classification] >= facts.LEVELS[DataClassification.CONFIDENTIAL]:
        words.insert(2, f"Use made-up data there instead of {classification} ones.")
    return {
        "class": classification,
        "environment": environment,
        "sentence": " ".join(word for word in words if word),
    }


def exposed(endpoint: Endpoint | None) -> dict[str, Any]:
    """Return whether others than the project may call: never a new endpoint, until an owner offers it."""
    if endpoint is not None and endpoint.shareable:
        sentence = "An owner offers it: members of other projects may ask to call it, and each is decided on its own."
        return {"value": "shareable", "sentence": sentence}
    sentence = "Only keys of its own project call it. An owner may offer it to other projects later."
    return {"value": "project", "sentence": sentence}


def egress(cluster: Cluster | None) -> dict[str, Any]:
    """Return what the engine may reach, as far as the driver of its cluster enforces it."""
    if cluster is None:
        return {"driver": "", "enforced": False, "sentence": "No cluster is chosen yet."}
    enforced, sentence = EGRESS.get(cluster.driver, UNKNOWN_EGRESS)
    return {"driver": cluster.driver, "enforced": enforced, "sentence": sentence}


def findings(version: Version) -> list[dict[str, Any]]:
    """Return the newest finding of each kind about `version`, as far as it is known (one query at most)."""
    facts.with_evidence([version])
    now = timezone.now()
    return [
        {
            "kind": one.kind,
            "title": cells.title(one.kind),
            "verdict": one.verdict,
            "age_days": (now - one.collected_at).days,
            "expired": bool(one.expires_at and one.expires_at <= now),
            "summary": one.summary,
            "digest": one.digest,
        }
        for one in version.latest_evidence()
    ]


def licence(version: Version, found: Around, known: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the licence with its verdict, and whether its terms must still be acknowledged before the first key."""
    judged = next((one for one in known if one["kind"] == "licence"), None)
    asked = terms_of(version.licence)
    if not asked:
        sentence = "Nothing has to be acknowledged."
    elif found.missing:
        names = ", ".join(one.name for one in found.missing)
        sentence = f"Before its first key somebody of the project acknowledges: {names}."
    else:
        sentence = "Its terms are acknowledged for the project."
    return {
        "expression": version.licence,
        "name": short_name(version.licence),
        "verdict": judged["verdict"] if judged else "missing",
        "summary": judged["summary"] if judged else "Its licence was not judged yet.",
        "restrictions": [{"licence": one.key, "name": one.name, "terms": one.words} for one in asked],
        "acknowledged": not found.missing,
        "sentence": sentence,
    }


def with_waivers(plan: dict[str, Any], checks: Iterable[Check]) -> dict[str, Any]:
    """Return `plan` with the waivers in its security half that let some of `checks` pass."""
    half = plan.get("security")
    counting = [
        {"number": one.waiver, "check": one.id, "title": one.title, "until": one.waived_until}
        for one in checks
        if one.verdict == WAIVED
    ]
    return plan if half is None else plan | {"security": half | {"waivers": counting}}
