"""Fields that the forms of several kinds share: bounds, help, and what the chosen value means. For _field.html."""

import datetime as dt
from typing import Any

from django.utils import timezone

from approvals.bodies import MAX_CONCURRENCY, MAX_CONTEXT, MAX_DAYS, MAX_PURPOSE, MAX_REPLICAS
from approvals.models import DataClassification
from approvals.views import choices
from approvals.views.choices import Choice, Offer
from catalog import fit
from catalog.evidence.licence import short_name
from catalog.models import Version
from endpoints.models import Endpoint, Environment
from endpoints.rogue.models import RogueWorkload

Shape = dict[str, Any]
CLASS_HELP = "Confidential and restricted data do not belong on the demo engine."
PURPOSE_HELP = "Reviewers read this first: what, for whom, instead of what."
LONGEST = MAX_PURPOSE * 4  # what a refused form shows again of one field; more than any bound, less than megabytes


def select(options: list[Choice], text: str = "", **more: Any) -> Shape:
    """Return a choice among `options`."""
    return {"kind": "select", "choices": options, "help": text, **more}


def number(most: int, text: str, *, least: int = 1, **more: Any) -> Shape:
    """Return a whole number within bounds."""
    return {"kind": "number", "attrs": {"min": least, "max": most}, "help": text, **more}


def purpose(text: str = PURPOSE_HELP) -> Shape:
    """Return the text that reviewers read first."""
    return {"kind": "textarea", "help": text, "attrs": {"maxlength": MAX_PURPOSE}}


def end_date(text: str = "", *, after: dt.date | None = None) -> Shape:
    """Return a last day: from tomorrow on, or from the day after `after`, and not too far away."""
    today = timezone.now().date()
    first = max(after or today, today) + dt.timedelta(days=1)
    last = today + dt.timedelta(days=MAX_DAYS)
    attrs = {"min": first.isoformat(), "max": last.isoformat()}
    return {"kind": "date", "help": text or f"At most {MAX_DAYS} days.", "attrs": attrs}


def data_class(text: str = CLASS_HELP, *, empty: Choice = choices.NOTHING, **more: Any) -> Shape:
    """Return the classes of data, least sensitive first."""
    return select([empty, *((value, value, False) for value in DataClassification.values)], text, **more)


def project(offer: list[tuple[str, str]], value: str, text: str) -> Shape:
    """Return the projects of `offer` (slug, own role there); `text` stands there until one is chosen."""
    roles = dict(offer)
    role = roles.get(value)
    kept = offer if not value or value in roles else [*offer, (value, "")]
    return select([(slug, slug, False) for slug, _ in kept], f"You are {role} here." if role else text)


def promoted(value: str, source: Endpoint | None) -> dict[str, Shape]:
    """Return where a request comes from; a field only where it comes from somewhere."""
    if not value:
        return {}
    label = f"{source.name} · {source.environment}" if source is not None else f"{value[:40]} · none of yours"
    options: list[Choice] = [(value, label, False), ("", "It is not promoted", False)]
    return {"promoted_from": select(options, "What differs from it stands in the plan.", required=False)}


def adopted(value: str, row: RogueWorkload | None) -> dict[str, Shape]:
    """Return what runs already and becomes the endpoint; a field only where there is something."""
    if not value:
        return {}
    label = f"{row.kind} {row} on {row.cluster.slug}" if row is not None else f"{value[:40]} · none that you may see"
    options: list[Choice] = [(value, label, False), ("", "Nothing, it is a new one", False)]
    help_ = "It keeps running, and its pods are not touched. What differs from the version stands in the plan."
    return {"adopts": select(options, help_, required=False)}


def environment_of(row: RogueWorkload | None) -> dict[str, Shape]:
    """Return the environments that the cluster of what runs already serves; nothing where nothing runs."""
    if row is None:
        return {}
    options = [(name, str(label), name not in row.cluster.environments) for name, label in Environment.choices]
    return {"environment": select(options, f"It runs on the cluster {row.cluster.slug}.")}


def sizes(text: str = "") -> dict[str, Shape]:
    """Return the three numbers of what runs."""
    return {
        "replicas": number(MAX_REPLICAS, text or "prod asks for 2 or more."),
        "concurrency": number(MAX_CONCURRENCY, "Per replica."),
        "context_tokens": number(MAX_CONTEXT, "Longest prompt and answer."),
    }


def model(offer: Offer, asset: str, name: str) -> dict[str, Shape]:
    """Return model and version, with what the chosen ones are."""
    version = offer.version(asset, name)
    most = int(version.needs.get("max_context_tokens", 0)) if version else 0
    return {
        "asset": select(choices.asset_choices(offer, asset), _asset_help(version)),
        "version": select(
            choices.version_choices(offer, asset, name), f"Up to {most:,} context tokens." if most else ""
        ),
    }


def _asset_help(version: Version | None) -> str:
    if version is None:
        return "Only approved versions are offered."
    size = fit.parameters_text(int(version.needs["parameters"])) if version.needs else ""
    return " · ".join(
        part for part in ("Approved", short_name(version.licence), f"{size} parameters" if size else "") if part
    )
