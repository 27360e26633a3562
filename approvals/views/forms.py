"""The form of every kind of request with its live plan: new requests, drafts, and what was sent back.

It works without JavaScript: a button recalculates the plan, another one keeps the draft.
"""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals import services
from approvals.models import Request, RequestKind, RequestState
from approvals.stages.words import sentence as who_decides
from approvals.views import cells, drafting, live, offers, what_if
from approvals.views.asking import BEGUN, FORMS, KindForm
from approvals.views.choices import own_projects
from approvals.views.drafting import Sheet
from approvals.views.requests import find
from approvals.waivers import panels
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.http import page
from projects.models import Project
from projects.permissions import can_anywhere, require_anywhere
from projects.principal import PortalRequest

Refusal = Invalid | Conflict


@require_http_methods(["GET", "POST"])
def request_new(request: PortalRequest) -> HttpResponse:
    """Ask for something: `?kind=` says for what, a new endpoint when it is left out; `?from=` begins with a request."""
    waives = (request.POST.get("kind") or request.GET.get("kind")) == RequestKind.WAIVER
    if not (waives and can_anywhere(request.principal, "decide", Request)):  # reviewers ask for waivers, too
        require_anywhere(request.principal, "request", Project)
    if request.method == "POST":
        kind = _form_of(request.POST.get("kind") or request.GET.get("kind") or "endpoint")
        return _posted(request, kind, None)
    kind, typed = _begun(request)
    return _show(request, _open(request, kind, typed), None, Sheet.new())


@require_http_methods(["GET", "POST"])
def request_edit(request: PortalRequest, pk: int) -> HttpResponse:
    """Finish a draft, or change a request that was sent back."""
    current = find(request, pk, decisions=False)
    if current.requester_id != request.principal.person.pk:
        raise Forbidden(f"Only {current.requester.username}, who made {current}, may change it.")
    if current.state not in drafting.CHANGEABLE:
        raise Conflict(
            f"{current} is {current.get_state_display().lower()}; only a draft or a request sent back can be changed."
        )
    kind = _form_of(current.kind)
    if request.method == "POST":
        return _posted(request, kind, current)
    return _show(request, _open(request, kind, kind.text_of(current.body)), current, Sheet.new(current))


def _open(request: PortalRequest, kind: type[KindForm], typed: dict[str, str]) -> KindForm:
    return kind(request.principal, own_projects(request), typed)


def _form_of(kind: str) -> type[KindForm]:
    found = FORMS.get(kind)
    if found is None:
        raise NotFound(f"Nobody can ask for {kind[:40]!r}. Choose one of {', '.join(FORMS)}.")
    return found


def _begun(request: PortalRequest) -> tuple[type[KindForm], dict[str, str]]:
    """Return the form of a new request and what it begins with: defaults and the address, or another request."""
    source = request.GET.get("from", "")
    if source.isascii() and source.isdigit() and len(source) <= 18:
        body = services.clone(request.principal, find(request, int(source)))
        kind = _form_of(body["kind"])
        return kind, kind.text_of(body)
    kind = _form_of(request.GET.get("kind") or "endpoint")
    return kind, kind.blank({name: request.GET[name] for name in request.GET}, request.project)


def _posted(request: PortalRequest, kind: type[KindForm], current: Request | None) -> HttpResponse:
    """Save, send, or only calculate: the last one is what every change of a field asks for."""
    typed = {name: request.POST.get(name, "") for name in (*kind.LABELS, BEGUN)}
    action, use, sheet = request.POST.get("action", "plan"), request.POST.get("use"), Sheet.of(request)
    if request.headers.get("HX-Trigger") == "request-form":
        # A field has changed. htmx adds the button that has the focus by then, which nobody has pressed.
        action, use = "plan", None
    if use:
        form = _open(request, kind, what_if.used(typed, use))
        return _show(request, form, current, sheet, taken_over=True)
    form = _open(request, kind, typed)
    if action == "save":
        return drafting.save(request, form, current, sheet)
    if action not in {"draft", "keep", "send"}:
        return _show(request, form, current, sheet)
    try:
        current = current or drafting.continued(request, sheet, form.KIND)
        seen = sheet.newest_at if action == "keep" else sheet.at
        made = _write(request, form, current, send=action == "send", seen=seen)
    except (Invalid, Conflict) as error:
        return _show(request, form, current, _told(error, current, sheet), error=error)
    drafting.remember(request, sheet, made)
    if action == "send":
        messages.success(request, f"{made} is sent. {who_decides(made.plan)}")
    else:
        messages.success(request, f"{made} is saved as it stands; it is not sent.")
    return redirect("request_detail", pk=made.pk)


def _write(request: PortalRequest, form: KindForm, current: Request | None, *, send: bool, seen: Any) -> Request:
    by, data = request.principal, form.data(form.typed)
    if current is None:
        return (services.send if send else services.draft)(by, data)
    with transaction.atomic():
        changed = services.change(by, current, data, seen=seen)
        return services.submit(by, changed) if send else changed


def _told(error: Refusal, current: Request | None, sheet: Sheet) -> Sheet:
    """Return what the form carries along after a refusal: it knows then how new the other version is."""
    if error.code == "not_a_draft":
        return Sheet.new()
    if error.code == "changed_meanwhile" and current is not None:
        current.refresh_from_db(fields=["updated_at"])
        return Sheet(sheet.form, str(current.pk), sheet.seen, current.updated_at.isoformat())
    return sheet


def _show(
    request: PortalRequest,
    form: KindForm,
    current: Request | None,
    sheet: Sheet,
    *,
    error: Refusal | None = None,
    taken_over: bool = False,
) -> HttpResponse:
    """Return the form with its plan: the page, or what htmx swaps after a change."""
    errors = _errors(form, error)
    wrong = {item["field"]: item["sentence"] for item in errors if item["field"]}
    fields, back = form.fields(wrong), current is not None and current.state == RequestState.CHANGES_REQUESTED
    found = live.look(form, current)
    follows = [*form.FOLLOWS, *(form.FILLED if form.refilled else ())]
    context = {
        **_frame(form, current),
        "form": form,
        "sections": _sections(form, fields),
        "follows": [(name, fields.get(name)) for name in dict.fromkeys(follows)],
        "begun": form.values[BEGUN],
        "sent_back": _sent_back(current) if back and current else "",
        "errors": errors,
        "refused": error.sentence if error and not errors else "",
        "draft": drafting.line(current, sheet),
        "saves_itself": not back,
        "unsaved": request.method == "POST",
        "taken_over": taken_over,
        "offers": None if current else offers.running(form),
        "alternatives": what_if.alternatives(form, found),
        **found.cells(form),
    }
    if context["plan"] and not (current and panels.waivable(current) is None):
        known = current.pk if current else int(sheet.draft) if sheet.draft.isdecimal() else None
        context["plan"]["verdicts"] = panels.offered(context["plan"]["verdicts"], known)
    # An alternative that is taken over fills the fields: htmx then swaps the whole form, out of the whole page.
    part = None if taken_over else "live"
    return page(request, "approvals/form.html", context, part=part, status=422 if error else 200)


def _frame(form: KindForm, current: Request | None) -> dict[str, Any]:
    """Return what stands around the form."""
    new = reverse("request_new")
    edit = reverse("request_edit", args=[current.pk]) if current else ""
    return {
        "crumbs": [("Requests", reverse("request_list")), (current.number if current else "New", "")],
        "tabs": []
        if current
        else [
            {"label": kind.TAB, "url": f"{new}?kind={name}", "current": name == form.KIND}
            for name, kind in FORMS.items()
        ],
        "tabs_label": "What to ask for",
        "current": current,
        "title": f"Edit {current.number}" if current else form.TITLE,
        "chip": cells.state_chip(current.state if current else RequestState.DRAFT),
        "kind_chip": cells.kind_chip(current.kind) if current else None,
        "action_url": edit or f"{new}?kind={form.KIND}",
        "cancel_url": reverse("request_detail", args=[current.pk]) if current else reverse("request_list"),
    }


def _sections(form: KindForm, fields: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the fields in their rows. A row keeps the place of a field that does not apply now."""
    return [
        {
            "title": title,
            "rows": [
                {
                    "slots": [(name, fields.get(name)) for name in row],
                    "wide": any((fields.get(name) or {}).get("kind") == "textarea" for name in row),
                }
                for row in rows
            ],
        }
        for title, rows in form.SECTIONS
    ]


def _errors(form: KindForm, error: Refusal | None) -> list[dict[str, str]]:
    """Return the summary: each sentence with its field's label, or alone where the form has no such field."""
    found = []
    for name, text in (error.fields if error else {}).items():
        field, sentence = live.say(form, name, text)
        label = form.LABELS.get(field, "")
        short = sentence.removeprefix(f"{label} ") if label else sentence
        found.append({"field": field, "label": label, "sentence": sentence, "message": short})
    return found


def _sent_back(current: Request) -> str:
    last = current.decisions.select_related("reviewer").last()
    return f"{last.reviewer.username} asks for changes: {last.reason}" if last else ""
