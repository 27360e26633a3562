"""Pages of webhooks: of a project for its owners, of the platform for platform engineers."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from portal.listing import Column, Filter, Listing, csv_response, find, read
from projects.api import project_or_404
from projects.models import Delivery, DeliveryState, Project, Webhook, WebhookFormat
from projects.notify import reading, webhooks
from projects.notify.kinds import KINDS
from projects.permissions import can, forbidden_sentence, require
from projects.principal import PortalRequest

LABELS = {"name": "Name", "url": "Address", "kinds": "What it hears of", "format": "Format"}
DELIVERIES = Listing(
    route="webhook_detail",
    nouns=("delivery", "deliveries"),
    columns=(
        Column("what", "What", csv={"id": "id", "kind": "kind"}, fixed=True),
        Column("state", "State", csv={"state": "state", "status": "status", "error": "error"}),
        Column("attempts", "Attempts", csv={"attempts": "attempts"}, numeric=True),
        Column("when", "Created", ("created_at",), {"created_at": "at"}, fixed=True, first="descending"),
        Column("sent", "Came through", csv={"sent_at": "sent_at"}),
    ),
    filters=(
        Filter(
            "state",
            "State",
            lambda rows, value, request: rows.filter(state=value),
            choices=[(state, look[0]) for state, look in reading.STATES.items()],
            every="Every state",
        ),
        Filter(
            "kind",
            "Kind",
            lambda rows, value, request: rows.filter(kind=value),
            choices=[(kind, one.label) for kind, one in KINDS.items()],
            every="Every kind",
        ),
    ),
    sort="-when",
    size=25,
    file="deliveries",
)


def _list_url(project: Project | None) -> str:
    return reverse("project_webhook_list", args=[project.slug]) if project else reverse("webhook_list")


def _crumbs(project: Project | None, *more: tuple[str, str | None]) -> list[tuple[str, str | None]]:
    start: list[tuple[str, str | None]] = [("Home", reverse("home"))]
    if project:
        start += [
            ("Projects", reverse("project_list")),
            (project.slug, reverse("project_detail", args=[project.slug])),
        ]
    return [*start, ("Webhooks", _list_url(project) if more else None), *more]


@require_GET
def webhook_list(request: PortalRequest, slug: str = "") -> HttpResponse:
    """The webhooks of a project, or of the platform."""
    project = project_or_404(request.principal, slug) if slug else None
    rows = [
        {
            "id": hook.pk,
            "name": hook.name,
            "url": hook.url,
            "kinds": ", ".join(KINDS[kind].label for kind in hook.kinds if kind in KINDS) or "everything",
            "chip": _enabled_chip(hook),
            "waiting": hook.waiting,
            "dead": hook.dead,
            "last_sent": hook.last_sent,
        }
        for hook in reading.counted(reading.webhooks_of(request.principal, project))
    ]
    context = {
        "crumbs": _crumbs(project),
        "project": project,
        "rows": rows,
        "may_create": webhooks.may_create(request.principal, project),
        "create_url": reverse("project_webhook_create", args=[slug]) if slug else reverse("webhook_create"),
    }
    return page(request, "projects/notify/webhooks.html", context)


def _enabled_chip(hook: Webhook) -> dict[str, str]:
    look = ("On", "green", "ok") if hook.enabled else ("Off", "grey", "pause")
    return dict(zip(("label", "colour", "icon"), look, strict=True)) | {"kind": "filled"}


@require_http_methods(["GET", "POST"])
def webhook_create(request: PortalRequest, slug: str = "") -> HttpResponse:
    """The form for a webhook; its POST answers with the secret, once."""
    project = project_or_404(request.principal, slug) if slug else None
    if project is not None:
        require(request.principal, "create", project, model=Webhook)
    elif not webhooks.may_create(request.principal, None):
        raise Forbidden(forbidden_sentence("create", Webhook))
    typed: dict[str, Any] = {"name": "", "url": "", "kinds": [], "enabled": True, "format": WebhookFormat.STANDARD}
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = _typed(request)
        try:
            hook, secret = webhooks.create(request.principal, project=project, **typed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            return _show_once(request, hook, secret)
    return _form(request, project, None, typed, problem)


@require_http_methods(["GET", "POST"])
def webhook_change(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """The form for a webhook that exists."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    require(request.principal, "change", hook)
    typed: dict[str, Any] = {"name": hook.name, "url": hook.url, "kinds": hook.kinds, "enabled": hook.enabled} | {
        "format": hook.format
    }
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = _typed(request)
        try:
            webhooks.change(request.principal, hook, **typed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{typed['name']} is saved.")
            return redirect("webhook_detail", webhook_id=hook.pk)
    return _form(request, hook.project, hook, typed, problem)


def _typed(request: HttpRequest) -> dict[str, Any]:
    return {
        "name": request.POST.get("name", ""),
        "url": request.POST.get("url", ""),
        "kinds": request.POST.getlist("kinds"),
        "enabled": "enabled" in request.POST,
        "format": request.POST.get("format", WebhookFormat.STANDARD),
    }


def _form(
    request: PortalRequest,
    project: Project | None,
    hook: Webhook | None,
    typed: dict[str, Any],
    problem: Invalid | Conflict | None,
) -> HttpResponse:
    wrong = problem.fields if problem else {}
    errors = (problem.errors or [{"field": "name", "message": problem.sentence}]) if problem else []
    errors = [error | {"label": LABELS.get(error["field"], error["field"])} for error in errors]
    heading = f"Change {hook.name}" if hook else "New webhook"
    context = {
        "crumbs": _crumbs(project, (heading, None)),
        "heading": heading,
        "project": project,
        "errors": errors,
        "fields": [
            {"name": "name", "label": "Name", "kind": "text", "value": typed["name"], "required": True,
             "error": wrong.get("name", ""), "attrs": {"maxlength": 80}},
            {"name": "url", "label": "Address", "kind": "text", "value": typed["url"], "required": True,
             "help": "For example https://hooks.example.com/gatehouse. Private addresses need GATEHOUSE_WEBHOOK_ALLOW.",
             "error": wrong.get("url", ""), "attrs": {"maxlength": 500, "inputmode": "url", "spellcheck": "false"}},
            {"name": "format", "label": "Format", "kind": "select", "value": typed["format"],
             "choices": [(value, label, False) for value, label in WebhookFormat.choices],
             "help": "A chat shows its own format at once; the other one is for programs. All of them are signed.",
             "error": wrong.get("format", "")},
            {"name": "enabled", "label": "Switched on", "kind": "checkbox", "checked": typed["enabled"]},
        ],
        "kinds": [
            {"kind": kind, "label": one.label, "sentence": one.sentence, "chosen": kind in typed["kinds"]}
            for kind, one in KINDS.items()
        ],
        "kinds_error": wrong.get("kinds", ""),
        "submit_label": "Save" if hook else "Create webhook",
        "cancel_url": reverse("webhook_detail", args=[hook.pk]) if hook else _list_url(project),
    }  # fmt: skip
    return page(request, "projects/notify/webhook_form.html", context, status=problem.status if problem else 200)


def _show_once(request: PortalRequest, hook: Webhook, secret: str) -> HttpResponse:
    context = {
        "crumbs": _crumbs(hook.project, (hook.name, None)),
        "hook": hook,
        "secret": secret,
        "detail_url": reverse("webhook_detail", args=[hook.pk]),
    }
    response = page(request, "projects/notify/webhook_secret.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_GET
def webhook_detail(request: PortalRequest, webhook_id: UUID) -> HttpResponseBase:
    """A webhook with its deliveries: what came through, what waits, what was given up and why."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    asked, rows = read(request, DELIVERIES), Delivery.objects.filter(webhook=hook)

    def lines(found: Sequence[Delivery]) -> list[dict[str, Any]]:
        return [reading.line(row) for row in found]

    if asked.csv:
        return csv_response(asked, rows, lines)
    found = find(asked, rows)
    dead = rows.filter(state=DeliveryState.DEAD).count()
    context = {
        "crumbs": _crumbs(hook.project, (hook.name, None)),
        "hook": hook,
        "chip": _enabled_chip(hook),
        "kinds": [KINDS[kind].label for kind in hook.kinds if kind in KINDS],
        "may": {verb: can(request.principal, verb, hook) for verb in ("change", "delete", "rotate", "test", "replay")},
        "dead": dead,
        "rows": lines(found.rows),
    }
    return found.render("projects/notify/webhook.html", context)


@require_POST
def webhook_test(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Queue a call that changes nothing at the receiver."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    webhooks.test(request.principal, hook)
    messages.success(request, "The test is on its way; the list below shows how it went.")
    return redirect("webhook_detail", webhook_id=hook.pk)


@require_POST
def webhook_replay(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Queue one delivery again (`id`), or all that were given up."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    text = request.POST.get("id", "")
    try:
        ids = [UUID(text)] if text else None
    except ValueError as error:
        raise Invalid.field(
            "id", "id must be the id of a delivery. Leave it away for all that were given up."
        ) from error
    count = webhooks.replay(request.principal, hook, ids)
    messages.success(request, f"{count} deliver{'y is' if count == 1 else 'ies are'} queued again.")
    return redirect("webhook_detail", webhook_id=hook.pk)


@require_http_methods(["GET", "POST"])
def webhook_rotate(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Give a webhook a new secret; the answer to POST shows it, once."""
    words = {
        "title": "Rotate the secret of {name}?",
        "intro": "You get a new secret at once. For 24 hours calls carry the signatures of both.",
        "submit_label": "Rotate the secret",
    }
    return _confirmed(
        request,
        webhook_id,
        "rotate",
        words,
        lambda hook: _show_once(request, hook, webhooks.rotate(request.principal, hook)),
    )


@require_http_methods(["GET", "POST"])
def webhook_delete(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook with all that waits for it."""

    def confirmed(hook: Webhook) -> HttpResponse:
        webhooks.delete(request.principal, hook)
        messages.success(request, f"{hook.name} is deleted.")
        return redirect(_list_url(hook.project))

    words = {
        "title": "Delete {name}?",
        "intro": "Its deliveries go with it, those that wait too. There is no undo.",
        "submit_label": "Delete the webhook",
    }
    return _confirmed(request, webhook_id, "delete", words, confirmed)


def _confirmed(
    request: PortalRequest,
    webhook_id: UUID,
    verb: str,
    words: dict[str, str],
    act: Callable[[Webhook], HttpResponse],
) -> HttpResponse:
    """Ask for the webhook's name before `act`; a wrong name changes nothing."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    require(request.principal, verb, hook)
    error = ""
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() == hook.name:
            return act(hook)
        error = f"Type {hook.name} exactly as it is written."
    waiting = Delivery.objects.filter(webhook=hook, state=DeliveryState.WAITING).count()
    detail = reverse("webhook_detail", args=[hook.pk])
    context = {
        "crumbs": _crumbs(hook.project, (hook.name, detail), (words["submit_label"], None)),
        "heading": words["submit_label"],
        "confirm": {
            "title": words["title"].format(name=hook.name),
            "intro": words["intro"],
            "word": hook.name,
            "effects": [{"count": f"{waiting:,}", "text": " of its deliveries wait"}],
            "action_url": request.path,
            "submit_label": words["submit_label"],
            "cancel_url": detail,
            "error": error,
        },
        "errors": [{"field": "confirm", "message": error}] if error else [],
    }
    return page(request, "projects/notify/confirm.html", context, status=422 if error else 200)
