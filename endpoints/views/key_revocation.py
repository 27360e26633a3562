"""Ending many keys at once, counted before it happens."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from endpoints.key_revocation import FIELDS, Revocation, revoke_keys
from portal.errors import Invalid
from portal.http import page
from projects.models import ApiKey
from projects.permissions import require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

SHOWN = 8  # keys that the confirmation names one by one
LABELS = {
    "person": ("Person", "All keys of this person, for example when somebody leaves: dana"),
    "project": ("Project", "All keys of this project: fraud-detection"),
    "endpoint": ("Endpoint", "All keys that are bound to it: fraud-detection/scoring"),
    "prefix": ("Prefix", "The one key that was found somewhere: gth_ and eight characters"),
}


@require_http_methods(["GET", "POST"])
@recently_proved(why="You end keys that others may depend on.")
def keys_revoke(request: PortalRequest) -> HttpResponse:
    """The form; its first POST counts, the second one, with the count typed, ends them."""
    require_anywhere(request.principal, "revoke", ApiKey)
    source = request.POST if request.method == "POST" else request.GET
    typed = {name: source.get(name, "").strip()[:200] for name in (*FIELDS, "reason")}
    context: dict[str, Any] = {
        "heading": "Revoke keys",
        "crumbs": [("Home", reverse("home")), ("Projects", reverse("project_list")), ("Revoke keys", "")],
    }
    problem: Invalid | None = None
    if request.method == "POST":
        which = {name: typed[name] for name in FIELDS if typed[name]}
        try:
            counted = revoke_keys(request.principal, which, reason=typed["reason"], dry_run=True)
            word = f"revoke {len(counted.keys)}"
            if counted.keys and request.POST.get("confirm", "").strip() == word:
                done = revoke_keys(request.principal, which, reason=typed["reason"])
                messages.success(request, f"{_keys(len(done.keys))} revoked; gateways refuse them within a second.")
                return redirect("keys_revoke")
        except Invalid as error:
            problem = error
        else:
            context["counted"] = counted
            if counted.keys:
                context["confirm"] = _confirm(counted, typed, word, asked="confirm" in request.POST)
    context["fields"] = _fields(typed, problem.fields if problem else {})
    context["errors"] = problem.errors if problem else []
    return page(request, "endpoints/keys_revoke.html", context, status=problem.status if problem else 200)


def _keys(count: int) -> str:
    return f"{count} key is" if count == 1 else f"{count} keys are"


def _confirm(counted: Revocation, typed: dict[str, str], word: str, *, asked: bool) -> dict[str, Any]:
    effects = [
        {"count": key.prefix, "text": f" {key.name} of {key.person.username} in {key.project.slug}"}
        for key in counted.keys[:SHOWN]
    ]
    rest = len(counted.keys) - SHOWN
    if rest > 0:
        effects.append({"count": f"{rest} more", "text": ""})
    if counted.also_for_whole_project:
        effects.append(
            {
                "count": f"{counted.also_for_whole_project} other",
                "text": " reach it too, because they are for the whole project; they stay. Revoke by project.",
            }
        )
    return {
        "title": f"{_keys(len(counted.keys))} about to end",
        "intro": "Calls with them are refused within a second. It cannot be undone; whoever needs one makes a new one.",
        "effects": effects,
        "word": word,
        "hidden": typed,
        "action_url": reverse("keys_revoke"),
        "submit_label": "Revoke them",
        "cancel_url": reverse("keys_revoke"),
        "error": f"Type {word} exactly." if asked else "",
    }


def _fields(typed: dict[str, str], errors: dict[str, str]) -> list[dict[str, Any]]:
    fields = [
        {
            "name": name,
            "label": label,
            "kind": "text",
            "value": typed[name],
            "required": False,
            "help": text,
            "error": errors.get(f"by.{name}", ""),
            "attrs": {"maxlength": 200, "autocomplete": "off", "spellcheck": "false"},
        }
        for name, (label, text) in LABELS.items()
    ]
    reason: dict[str, Any] = {"name": "reason", "label": "Reason, kept in the record", "kind": "text", "help": ""}
    reason |= {"value": typed["reason"], "required": False, "error": errors.get("reason", "")}
    return [*fields, reason | {"attrs": {"maxlength": 500}}]
