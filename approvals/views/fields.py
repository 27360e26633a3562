"""The fields of the request form: labels, bounds, choices narrowed by each other, and what the chosen ones mean."""

import datetime as dt
from typing import Any

from django.utils import timezone

from approvals.bodies import MAX_CONCURRENCY, MAX_CONTEXT, MAX_DAYS, MAX_PURPOSE, MAX_REPLICAS
from approvals.models import DataClassification
from approvals.views import choices
from approvals.views.choices import Offer
from catalog import fit
from catalog.evidence.licence import short_name
from catalog.models import Version

LABELS = {
    "asset": "Model",
    "version": "Version",
    "name": "Endpoint name",
    "project": "Project",
    "hardware_profile": "Hardware profile",
    "environment": "Environment",
    "replicas": "Replicas",
    "concurrency": "Parallel calls",
    "context_tokens": "Context tokens",
    "ends_on": "Runs until",
    "purpose": "Purpose",
    "data_classification": "Data classification",
}
CLASS_HELP = "Confidential and restricted data do not belong on the demo engine."


def fields(offer: Offer, values: dict[str, str], wrong: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the fields for _field.html, with their choices narrowed and what the chosen ones mean."""
    role = dict(choices.project_choices(offer, values.get("project", "")))
    version = offer.version(values.get("asset", ""), values.get("version", ""))
    most = int(version.needs.get("max_context_tokens", 0)) if version else 0
    cluster = choices.cluster_of(
        offer, offer.profile(values.get("hardware_profile", "")), values.get("environment", "")
    )
    first_day = timezone.now().date() + dt.timedelta(days=1)
    classes = [choices.NOTHING, *((value, value, False) for value in DataClassification.values)]
    shapes: dict[str, dict[str, Any]] = {
        "asset": {
            "kind": "select",
            "choices": choices.asset_choices(offer, values["asset"]),
            "help": _asset_help(version),
        },
        "version": {
            "kind": "select",
            "choices": choices.version_choices(offer, values["asset"], values["version"]),
            "help": f"Up to {most:,} context tokens." if most else "",
        },
        "name": {
            "help": "Calls name it project/name. Lower-case letters, digits and hyphens.",
            "attrs": {"maxlength": 40, "autocomplete": "off"},
        },
        "project": {
            "kind": "select",
            "choices": [(slug, slug, False) for slug in role],
            "help": f"You are {role[values['project']]} here."
            if role.get(values["project"])
            else "Where you are owner or developer.",
        },
        "hardware_profile": {
            "kind": "select",
            "choices": choices.profile_choices(offer, values),
            "help": "Profiles that are too small say why.",
        },
        "environment": {
            "kind": "select",
            "choices": choices.environment_choices(offer, values),
            "help": f"Runs on the cluster {cluster.slug}." if cluster else "",
        },
        "replicas": {"kind": "number", "attrs": {"min": 1, "max": MAX_REPLICAS}, "help": "prod asks for 2 or more."},
        "concurrency": {"kind": "number", "attrs": {"min": 1, "max": MAX_CONCURRENCY}, "help": "Per replica."},
        "context_tokens": {
            "kind": "number",
            "attrs": {"min": 1, "max": MAX_CONTEXT},
            "help": "Longest prompt and answer.",
        },
        "ends_on": {
            "kind": "date",
            "help": f"At most {MAX_DAYS} days.",
            "attrs": {"min": first_day.isoformat(), "max": (first_day + dt.timedelta(days=MAX_DAYS - 1)).isoformat()},
        },
        "purpose": {
            "kind": "textarea",
            "help": "Reviewers read this first: what, for whom, instead of what.",
            "attrs": {"maxlength": MAX_PURPOSE},
        },
        "data_classification": {"kind": "select", "choices": classes, "help": CLASS_HELP},
    }
    return {
        name: {
            "name": name,
            "label": label,
            "kind": "text",
            "value": values.get(name, "")[: MAX_PURPOSE * 4],
            "required": True,
            "error": wrong.get(name, ""),
            **shapes[name],
        }
        for name, label in LABELS.items()
    }


def _asset_help(version: Version | None) -> str:
    if version is None:
        return "Only approved versions are offered."
    size = fit.parameters_text(int(version.needs["parameters"])) if version.needs else ""
    return " · ".join(
        part for part in ("Approved", short_name(version.licence), f"{size} parameters" if size else "") if part
    )
