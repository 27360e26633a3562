"""The form of a pool's shares: a row for each project, and how what was borrowed is asked back."""

from collections.abc import Mapping, Sequence
from typing import Any

from portal.errors import GatehouseError
from portal.http import FormProblem, typed_number
from quotas import fairness
from quotas.fairness import Line
from quotas.models import GiveBackRule
from quotas.pools import MOST_HOURS
from quotas.shares import KEYS

MOST_ROWS = 100  # of more projects, those that have an agreement, hold or wait; another one is named
LABELS = {"nominal": "Nominal", "weight": "Weight", "borrowing_limit": "Borrowing limit"}
RULES = (
    (GiveBackRule.NEVER.value, "never: who waits waits", False),
    (GiveBackRule.NOT_PROD.value, "from dev and staging", False),
    (GiveBackRule.ANY.value, "from dev, staging and prod", False),
)
STALE = 412  # somebody else was faster
ANOTHER = "another"  # name of the field for a project that has no row; its numbers have names without a slug


def problem(error: GatehouseError, slugs: Sequence[str], typed: Mapping[str, str]) -> FormProblem:
    """Return `error` with its fields named as in the form; `slugs` are the projects of the shares that were sent, ""
    for the one that was named.
    """
    fields: dict[str, str] = {}
    for name, message in error.fields.items():
        part, _, rest = name.partition(".")
        place, _, key = rest.partition(".")
        if part != "shares":
            fields[part] = message
        elif place.isdigit() and int(place) < len(slugs) and (key in KEYS or not slugs[int(place)]):
            fields[f"{key}-{slugs[int(place)]}" if key in KEYS else ANOTHER] = message
        else:
            fields[""] = message
    return FormProblem(error.status, error.sentence, fields, typed)


def posted(data: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the pool that the form asks for, and the project of each share, "" for one that was named.
    A row without numbers is no agreement.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in data:
        key, _, slug = name.partition("-")
        if key in KEYS and (value := typed_number(data[name])) is not None:
            rows.setdefault(slug, {"project": slug or data.get(ANOTHER, "").strip()})[key] = value
    if data.get(ANOTHER, "").strip():
        rows.setdefault("", {"project": data[ANOTHER].strip()})
    hours = typed_number(data.get("grace_hours", ""))
    fields = {
        "give_back": data.get("give_back", ""),
        "grace_hours": "empty" if hours is None else hours,
        "shares": list(rows.values()),
    }
    return fields, list(rows)


def form(
    now: Mapping[str, Any], projects: Mapping[str, int], line: Line, refused: FormProblem | None, *, more: bool
) -> dict[str, Any]:
    """Return the fields of the form. `now`: what is agreed (quotas.pools.terms); `projects`: ids of those that have a
    row, by slug; `more`: whether there are others.
    """
    agreed = {one["project"]: one for one in now["shares"]}
    own = fairness.shares(line)
    rows = [
        {
            "project": slug,
            "now": _now(line, own.get(pk), pk),
            "fields": [_number(key, slug, agreed.get(slug, {}).get(key), refused) for key in LABELS],
        }
        for slug, pk in projects.items()
    ]
    return {
        "errors": refused.errors(_named) if refused else [],
        "rows": rows,
        "labels": list(LABELS.values()),
        "another": _another(refused) if more else None,
        "give_back": _field(
            "give_back", "Give back", now["give_back"], refused, kind="select", choices=RULES,
            help="From whom what was borrowed is asked back when its owner waits for it.",
        ),
        "grace_hours": _field(
            "grace_hours", "Grace hours", now["grace_hours"], refused,
            help=f"Between the question and the suspension, 0 to {MOST_HOURS}.", attrs=_attrs(),
        ),
    }  # fmt: skip


def _now(line: Line, share: Any, pk: int) -> str:
    """Return how a project stands in the pool now."""
    if share is None:
        return "holds nothing"
    waits = sum(claim.amount for claim in line.waiting if claim.project == pk)
    words = f"share {float(share):.1f}".removesuffix(".0") + f", holds {line.held.get(pk, 0)}"
    return f"{words}, waits for {waits}" if waits else words


def _number(key: str, slug: str, value: int | None, refused: FormProblem | None) -> dict[str, Any]:
    label = f"{LABELS[key]} of {slug or 'another project'}"
    return _field(f"{key}-{slug}", label, value, refused, quiet=True, column=LABELS[key], attrs=_attrs())


def _field(name: str, label: str, value: Any, refused: FormProblem | None, **more: Any) -> dict[str, Any]:
    """Return one field with what was typed; where somebody else was faster, with what is agreed now beside it."""
    shown = "" if value is None else str(value)
    typed = refused.typed.get(name, "") if refused else shown
    field = {"name": name, "label": label, "kind": "text", "value": typed, "help": "", **more}
    if refused and refused.status == STALE and typed_number(typed) != typed_number(shown):
        field["help"] = f"Now: {shown or 'nothing'}."
    return field | {"error": refused.fields.get(name, "") if refused else ""}


def _another(refused: FormProblem | None) -> dict[str, Any]:
    slug = _field(ANOTHER, "Another project", None, refused, quiet=True, help="The slug of a project without a row.")
    attrs = {"maxlength": 40, "spellcheck": "false", "autocomplete": "off", "placeholder": "another-project"}
    return {"slug": slug | {"attrs": attrs}, "fields": [_number(key, "", None, refused) for key in LABELS]}


def _attrs() -> dict[str, Any]:
    return {"inputmode": "numeric", "maxlength": 40, "autocomplete": "off"}


def _named(name: str) -> str:
    """Return what a field of the form is called in the summary of errors."""
    key, _, slug = name.partition("-")
    if key in LABELS:
        return f"{LABELS[key]} of {slug or 'another project'}"
    return {"give_back": "Give back", "grace_hours": "Grace hours", ANOTHER: "Another project"}.get(name, name)
