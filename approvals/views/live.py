"""The plan of a form that is half filled in: what is right so far counts, what is missing or wrong is said."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from approvals import plan as plans
from approvals.bodies import RequestBody, parse
from approvals.kinds.endpoint import Resolved
from approvals.models import Request
from approvals.planning.around import around
from approvals.policies.active import Active, active
from approvals.views import cells
from approvals.views.asking import EndpointForm, KindForm
from catalog.evidence.licence import terms
from portal.errors import Conflict, Invalid


@dataclass(frozen=True)
class Live:
    """What the right side of a form knows. `plan` is None as long as something is missing or refused."""

    body: RequestBody
    found: Any
    plan: dict[str, Any] | None
    missing: list[str]
    problems: list[str]
    rules: Active | None = None  # the policies that count, for further plans of the page

    def cells(self, form: KindForm) -> dict[str, Any]:
        """Return what the templates show of it."""
        shown = None
        if self.plan is not None:
            about = self.plan.get("endpoint") or {}
            ends_on = self.body.stored().get("ends_on") or about.get("ends_on")
            shown = cells.plan_cells(self.plan, ends_on=ends_on, profile=form.profile)
            shown["verdicts"] = [_linked(form, verdict) for verdict in shown["verdicts"]]
        return {"plan": shown, "missing": self.missing, "problems": self.problems}


def look(form: KindForm, request: Request | None = None) -> Live:
    """Return the plan for what is typed so far, with the waivers of the `request` that is edited.

    Never an error: half a form is normal.
    """
    typed = {name: value for name, value in form.data(form.values).items() if value is not None}
    body, wrong = lenient(typed)
    absent = [name for name in form.NEEDS if getattr(body, name) in (None, "") and name not in wrong]
    against = {} if absent else body.conflicts()
    for name, text in against.items():
        if name not in wrong and getattr(body, name) in (None, ""):
            absent.append(name)
        else:
            wrong.setdefault(name, text)
    missing = list(dict.fromkeys(form.LABELS[form.place(name)] for name in absent))
    problems = [say(form, name, text)[1] for name, text in wrong.items()]
    if absent or against or any(getattr(body, name) in (None, "") for name in form.NEEDS):
        return Live(body, None, None, missing, problems)
    try:
        found = _known(form, body)
        rules = active()
        plan = plans.build(form.by, body, resolved=found, rules=rules, request=request)
    except Invalid as error:
        said = [say(form, name, text)[1] for name, text in error.fields.items()]
        return Live(body, None, None, missing, problems + (said or [error.sentence]))
    except Conflict as error:
        return Live(body, None, None, missing, [*problems, error.sentence])
    return Live(body, found, visible_part(form, body, plan), missing, problems, rules)


def _known(form: KindForm, body: RequestBody) -> Any:
    """Return what the body names, and with it what every plan of this page would ask the database again."""
    found = form.resolve(body)
    if not isinstance(found, Resolved):
        return found
    near = around(found.project, terms(found.version.licence), name=found.name)
    running = form.around if isinstance(form, EndpointForm) else None
    return replace(found, near=near, quota=near.gpus, running=running)


def visible_part(form: KindForm, body: RequestBody, plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan without the rules about what nobody has typed yet."""
    untyped = {name for name in form.LABELS if name not in form.NEEDS and getattr(body, name, "") is None}
    return plan | {"checks": [check for check in plan["checks"] if check["field"] not in untyped]}


def _linked(form: KindForm, verdict: dict[str, Any]) -> dict[str, Any]:
    """Return a verdict with the way to the field that would help."""
    place = form.place(str(verdict["field"])) if verdict["fix"] else ""
    return verdict | {"link": f"#id_{place}", "label": form.LABELS[place]} if place in form.LABELS else verdict


def lenient(data: Mapping[str, Any]) -> tuple[RequestBody, dict[str, str]]:
    """Return the body of the fields that are right, and what is wrong with the others, by field."""
    problems: dict[str, str] = {}
    rest = dict(data)
    for _ in range(2):  # types are said first, bounds afterwards
        try:
            return parse(rest), problems
        except Invalid as error:
            problems |= error.fields
        rest = {name: value for name, value in rest.items() if name not in problems}
    return parse(rest), problems


def say(form: KindForm, field: str, sentence: str) -> tuple[str, str]:
    """Return the field of the form at which `sentence` about `field` of the body stands ("": none), and the sentence
    with the label that people read in the place of the field's name.
    """
    place = form.place(field)
    if place not in form.LABELS:
        return "", sentence
    return place, f"{form.LABELS[place]}{sentence[len(field) :]}" if sentence.startswith(f"{field} ") else sentence
