"""Requests as files: a page that takes one, and the download of one."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from approvals import interchange, services
from approvals.views.asking import FORMS
from approvals.views.requests import find
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from projects.models import Project
from projects.permissions import require_anywhere
from projects.principal import PortalRequest

TEXT, FILE = "text", "file"
EXAMPLE = """apiVersion: gatehouse/v1
kind: Request
metadata:
  name: nightly-scoring
spec:
  kind: endpoint
  project: fraud-detection
  name: nightly-scoring
  asset: granite-3.3-2b-instruct
  version: "1.0"
  hardware_profile: cpu-demo
  environment: dev
  replicas: 1
  concurrency: 4
  context_tokens: 2048
  purpose: Score the day's card payments every night.
  data_classification: internal
"""


@require_GET
def request_yaml(request: PortalRequest, pk: int) -> HttpResponse:
    """Download what a request asks for as a file."""
    return interchange.answered(find(request, pk, decisions=False))


@require_http_methods(["GET", "POST"])
def request_import(request: PortalRequest) -> HttpResponse:
    """Make a draft of a file that is uploaded or pasted; what is wrong with it stands beside it."""
    require_anywhere(request.principal, "request", Project)
    if request.method != "POST":
        return _show(request, "")
    raw = _given(request)
    try:
        if not raw.strip():
            raise Invalid.field(TEXT, "Choose a file, or paste one here.")
        made = services.draft(request.principal, interchange.read(raw).body)
    except (Invalid, Conflict, Forbidden) as error:
        return _show(request, raw[: interchange.MOST_BYTES].decode("utf-8", "replace").replace("\0", ""), error)
    messages.success(request, f"{made} is a draft with what the file says. Read its plan, then send it.")
    return redirect("request_edit" if made.kind in FORMS else "request_detail", pk=made.pk)


def _given(request: PortalRequest) -> bytes:
    """Return the upload, or else the text; one byte more than is taken, so that its reader says so."""
    upload = request.FILES.get(FILE)
    if upload is not None:
        return bytes(upload.read(interchange.MOST_BYTES + 1))
    return request.POST.get(TEXT, "")[: interchange.MOST_BYTES + 1].encode("utf-8", "replace")


def _show(request: PortalRequest, text: str, error: Invalid | Conflict | Forbidden | None = None) -> HttpResponse:
    said = dict(error.fields) if error else {}
    whole = said.pop(TEXT, "") or said.pop(interchange.FIELD, "")
    if error is not None and not error.fields:
        whole = error.sentence
    errors = [{"field": TEXT, "label": "", "message": whole}] if whole else []
    errors += [{"field": TEXT, "label": name, "message": sentence} for name, sentence in said.items()]
    context: dict[str, Any] = {
        "crumbs": [("Requests", reverse("request_list")), ("Import", "")],
        "errors": errors,
        "example": EXAMPLE,
        "most": f"{interchange.MOST_BYTES // 1024} KB",
        "field": {
            "name": TEXT,
            "label": "Or paste it",
            "kind": "textarea",
            "value": text,
            "error": whole or ("See above." if errors else ""),
            "help": "YAML or JSON: the body of a request, with or without its envelope.",
            "attrs": {"rows": 14, "spellcheck": "false", "class": "gh-mono"},
        },
    }
    return page(request, "approvals/import.html", context, status=error.status if error else 200)
