"""Terms of licences: a project acknowledges them, once per wording, before it gets a key for what runs under them."""

from collections.abc import Iterable

from django.db import transaction

from audit.services import record
from catalog.evidence.licence import Terms, terms
from catalog.models import Acknowledgement
from portal.errors import Invalid
from projects.models import Project
from projects.permissions import require
from projects.principal import Principal

FIELD = "acknowledge"
CODE = "licence_not_acknowledged"


def missing(project: Project, licences: Iterable[str]) -> list[Terms]:
    """Return the terms that licence expressions ask for and that nobody has acknowledged for `project` in these words
    (one query, none where no terms are asked for).
    """
    asked = {one.key: one for licence in licences for one in terms(licence)}
    if not asked:
        return []
    rows = Acknowledgement.objects.filter(project=project, licence__in=asked).values_list("licence", "terms")
    known = set(rows)
    return [one for key, one in sorted(asked.items()) if (key, one.digest) not in known]


def require_acknowledged(project: Project, licences: Iterable[str]) -> None:
    """Raise Invalid `licence_not_acknowledged` with the words while terms are missing."""
    found = missing(project, licences)
    if found:
        raise refusal(project, found, "Make a key for it: the form shows the words and asks for it once.")


def acknowledge(by: Principal, project: Project, licences: Iterable[str], keys: Iterable[str]) -> list[Acknowledgement]:
    """Acknowledge for `project` the terms of the licences that `keys` names, as far as `licences` ask for them, and
    return the new rows.

    Raises Forbidden, and Invalid `licence_not_acknowledged` when terms stay missing: then nothing is acknowledged.
    """
    wanted = {key.strip() for key in keys}
    found = missing(project, licences)
    left = [one for one in found if one.key not in wanted]
    if left:
        raise refusal(project, left)
    if not found:
        return []
    require(by, "create", project, model=Acknowledgement)
    made = []
    with transaction.atomic():
        for one in found:
            row, new = Acknowledgement.objects.get_or_create(
                project=project, licence=one.key, terms=one.digest, defaults={"person": by.person}
            )
            if new:
                made.append(row)
                after = {"licence": one.key, "name": one.name, "terms": one.digest}
                record("catalog.acknowledge", by=by, obj=row, project=project.slug, after=after)
    return made


def refusal(project: Project, found: list[Terms], fix: str = "") -> Invalid:
    """Return the error that carries the words of the terms, for a page or a pipeline to show; `fix` says what to do."""
    names, keys = ", ".join(one.name for one in found), ", ".join(one.key for one in found)
    todo = fix or f"Read them and send acknowledge: [{keys}] with the key that you ask for."
    sentence = f"{project.slug} has not acknowledged the terms of {names} yet. {todo}"
    shown = [{"licence": one.key, "name": one.name, "terms": one.words, "digest": one.digest} for one in found]
    return Invalid(sentence, fields={FIELD: sentence}, code=CODE, extra={"terms": shown})
