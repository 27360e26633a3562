"""The editor of policies: a draft of one's own, file by file, with its mistakes in place, its tests, and a try."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from approvals.models import Bundle as Stored
from approvals.models import PolicyDraft, Preview
from approvals.policies import bundle as bundles
from approvals.policies import drafting, placing, publishing
from approvals.policies.active import active, by_digest
from approvals.policies.bundle import Bundle, TestResult
from approvals.policies.reading import PATH
from approvals.views import policies_cells as cells
from approvals.views import policies_try as trying
from portal.errors import Conflict, GatehouseError, Invalid
from portal.http import digest, page
from projects.permissions import require_anywhere
from projects.principal import PortalRequest, Principal

SKELETON = {
    "rules": "id: {id}\ntitle: \nseverity: warn\napplies_to: request\nexpression: |\n  true\nmessage: \nfix: \ntests:\n"
    "  - {{name: the sample, given: {{}}, expect: pass}}\n",
    "stages": "id: {id}\nname: \nwhen: |\n  false\nreason: \nroles: [governance-leads]\ntests:\n"
    "  - {{name: the sample, given: {{}}, expect: no}}\n",
    "envelopes": "id: {id}\ntitle: \nwhen: |\n  false\nkinds: [endpoint]\ntests:\n"
    "  - {{name: the sample, given: {{}}, expect: no}}\n",
}


@require_http_methods(["GET", "POST"])
def policy_draft(request: PortalRequest) -> HttpResponse:
    """The draft of the reader with one file opened; POST begins it, or changes that file."""
    by = request.principal
    require_anywhere(by, "publish", Stored)
    if request.method == "GET":
        draft = drafting.of(by)
        return _editor(request, draft, request.GET.get("path", "")) if draft else _none(request)
    act = ACTIONS.get(request.POST.get("action", ""))
    if act is None:
        raise Invalid.field("action", f"action takes one of {', '.join(ACTIONS)}.")
    try:
        return HttpResponseRedirect(act(request))
    except (Invalid, Conflict) as error:
        draft = drafting.of(by)
        if draft is None:
            raise
        return _editor(request, draft, request.POST.get("path", ""), problem=error)


def _none(request: PortalRequest) -> HttpResponse:
    context = {"crumbs": _crumbs("Draft"), "now": active(), "path": request.GET.get("path", "")[:200]}
    return page(request, "approvals/policies/no_draft.html", context)


def _begin(request: PortalRequest) -> str:
    drafting.begin(request.principal)
    return _at(request.POST.get("path", ""))


def _save(request: PortalRequest) -> str:
    path = request.POST.get("path", "")
    drafting.write(request.principal, path, request.POST.get("text", ""), seen=request.POST.get("seen", ""))
    messages.success(request, f"{path} is saved in your draft. Nothing changes until it is published.")
    return _at(path)


def _test(request: PortalRequest) -> str:
    return f"{_save(request)}#tests"


def _add(request: PortalRequest) -> str:
    folder, name = request.POST.get("folder", ""), request.POST.get("name", "").strip()
    path = f"{folder}/{name}.yaml"
    if folder not in SKELETON or not PATH.fullmatch(path):
        raise Invalid.field("name", f"name is {name[:60]!r}; write an id of lower-case letters, digits and dashes.")
    try:
        drafting.write(request.principal, path, SKELETON[folder].format(id=name), seen="")
    except Conflict as error:
        raise Invalid.field("name", f"The draft has {path} already. Choose another id, or open that file.") from error
    return _at(path)


def _remove(request: PortalRequest) -> str:
    path = request.POST.get("path", "")
    drafting.remove(request.principal, path)
    messages.success(request, f"{path} is taken out of your draft.")
    return _at(path)


def _restore(request: PortalRequest) -> str:
    path, draft = request.POST.get("path", ""), drafting.of(request.principal)
    before = by_digest(draft.base).files.get(path) if draft else None
    if before is None:
        drafting.remove(request.principal, path)
    else:
        drafting.write(request.principal, path, before)
    messages.success(request, f"{path} is as it was when the draft began.")
    return _at(path if before is not None else "")


def _rebase(request: PortalRequest) -> str:
    done = drafting.rebase(request.principal)
    if done.both:
        messages.warning(request, f"Both sides changed {', '.join(done.both[:10])}; your text stays. Compare it.")
    else:
        messages.success(request, "Your draft stands on the newest publication now; your changes are kept.")
    return reverse("policy_draft")


ACTIONS: Mapping[str, Callable[[PortalRequest], str]] = {
    "begin": _begin, "save": _save, "test": _test, "add": _add, "remove": _remove, "restore": _restore,
    "rebase": _rebase,
}  # fmt: skip


@require_http_methods(["GET", "POST"])
def policy_draft_discard(request: PortalRequest) -> HttpResponse:
    """Ask before the draft is thrown away; POST does it."""
    by = request.principal
    require_anywhere(by, "publish", Stored)
    draft = drafting.of(by)
    if draft is None:
        return redirect("policy_list")
    error = ""
    if request.method == "POST":
        if request.POST.get("confirm") == "discard":
            drafting.discard(by)
            messages.success(request, "Your draft is gone. What counts did not change.")
            return redirect("policy_list")
        error = "Type discard to confirm."
    names = publishing.changed(by_digest(draft.base).files, draft.files)
    confirm = {
        "title": "Discard your draft of the policies?",
        "intro": "What you changed is lost. The policies that count stay as they are.",
        "effects": [{"count": f"{len(names)} changed file{'s' if len(names) != 1 else ''}", "text": _names(names)}],
        "word": "discard",
        "action_url": reverse("policy_draft_discard"),
        "submit_label": "Discard the draft",
        "cancel_url": reverse("policy_draft"),
        "error": error,
    }
    context = {"crumbs": _crumbs("Discard"), "confirm": confirm, "heading": "Discard the draft"}
    return page(request, "approvals/policies/confirm.html", context, status=422 if error else 200)


def _names(names: Sequence[str]) -> str:
    return f": {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else ""


def _crumbs(last: str) -> list[tuple[str, str]]:
    return [("Home", reverse("home")), ("Policies", reverse("policy_list")), (last, "")]


def _at(path: str) -> str:
    return reverse("policy_draft") + (f"?{urlencode({'path': path})}" if path else "")


def state_of(draft: PolicyDraft) -> tuple[Bundle | None, Mapping[str, str], list[TestResult]]:
    """Return the bundle in a draft, or what keeps its files from being one (by file or field), and its tests."""
    try:
        bundle = bundles.read(draft.files)
    except Invalid as error:
        return None, error.fields or {"": error.sentence}, []
    return bundle, {}, bundles.run_tests(bundle)


def last_preview(by: Principal, draft: PolicyDraft) -> Preview | None:
    """Return the newest preview of exactly these files (one query)."""
    rows = Preview.objects.filter(by=by.person, digest=digest(dict(draft.files))).defer("files")
    return rows.first()


def _editor(
    request: PortalRequest, draft: PolicyDraft, path: str, *, problem: GatehouseError | None = None
) -> HttpResponse:
    by, now = request.principal, active()
    base = by_digest(draft.base).files
    known = sorted({*draft.files, *base})
    path = path if path in known or (problem and path) else next(iter(_changed_first(base, draft.files)), "")
    bundle, broken, results = state_of(draft)
    text = draft.files.get(path, "")
    typed = request.POST.get("text", text) if problem is not None and "text" in request.POST else text
    changed = publishing.changed(base, draft.files)
    errors = _errors(problem, path, typed if path in draft.files or typed else None, broken)
    context = {
        "crumbs": _crumbs("Draft"),
        "now": now,
        "behind": drafting.is_behind(draft, now),
        "path": path,
        "there": path in draft.files,
        "is_new": path in draft.files and path not in base,
        "files": cells.file_rows(draft, base, _paths(broken, known), path),
        "text_field": _text_field(typed, bool(errors)),
        "seen": request.POST.get("seen", "") if problem else drafting.mark(draft.files.get(path)),
        "errors": errors,
        "unsaved": problem is not None,
        "add_error": problem.fields.get("name", "") if problem else "",
        "added": request.POST.get("name", "")[:60] if problem else "",
        "folders": [("rules", "rule"), ("stages", "stage"), ("envelopes", "envelope")],
        "elsewhere": [name for name in _paths(broken, known) if name != path],
        "diff": cells.diff(base.get(path, ""), draft.files.get(path, "")),
        "changed": changed,
        "tests": [cells.test_row(one) for one in results if one.path == path],
        "red": [cells.test_row(one) for one in results if not one.passed and one.path != path],
        "tested": cells.tested_words(results),
        "readable": bundle is not None,
        "steps": cells.steps(len(changed), bundle is None, results, last_preview(by, draft)),
        "sources": trying.sources(by) if bundle is not None else [],
        "on": request.GET.get("on", ""),
        "tried": trying.tried(by, bundle, path, request.GET.get("on", "")),
    }
    return page(request, "approvals/policies/draft.html", context, status=problem.status if problem else 200)


def _changed_first(base: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    return [*publishing.changed(base, files), *sorted(files)]


def _paths(broken: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """Return the files that are named by errors, which name a file or one of its fields."""
    return [path for path in known if any(name.startswith(path) for name in broken)]


def _text_field(text: str, wrong: bool) -> dict[str, Any]:
    rows = min(max(text.count("\n") + 3, 14), 40)
    return {
        "name": "text", "label": "Text of the file", "kind": "textarea", "value": text, "required": False, "help": "",
        "error": "See above what is wrong, and where." if wrong else "",
        "attrs": {"rows": rows, "spellcheck": "false", "autocapitalize": "off", "wrap": "off", "class": "gh-mono"},
    }  # fmt: skip


def _errors(
    problem: GatehouseError | None, path: str, text: str | None, broken: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return what is wrong with the opened file: why it was not saved, then where it cannot be read."""
    found: list[placing.Problem] = []
    if problem is not None and "name" not in problem.fields:
        found.append(placing.Problem(problem.sentence))
    if path and text is not None:
        placed = placing.problems(text)
        # The places say more than the sentences about the same fields; a file that is no YAML has no fields.
        said = {one.field for one in placed}
        found += placed
        for name, words in broken.items():
            field = name.removeprefix(path).removeprefix(": ")
            if name.startswith(path) and "" not in said and field not in said:
                found.append(placing.Problem(words.removeprefix(f"{path}: ")))
    found += [placing.Problem(words) for name, words in broken.items() if not name]
    return [asdict(one) for one in found]
