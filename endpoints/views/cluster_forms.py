"""Forms of clusters: registering, changing, giving a new credential. Secrets that were typed are never sent back."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from endpoints.clusters.rbac import GRANTS
from endpoints.fleet import registering, repository
from endpoints.fleet.access import WAYS, has_api
from endpoints.fleet.options import GIT, OPTIONS, clean
from endpoints.models import Cluster, Environment
from endpoints.views import cluster_cells
from endpoints.views.clusters import cluster_or_404, crumbs, manifest_url
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.permissions import require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

LABELS = {
    "slug": "Slug", "name": "Name", "driver": "Driver", "environments": "Environments", "server": "API server",
    "ca": "Authority", "token": "Token", "kubeconfig": "Kubeconfig", "authentication": "How the portal signs in",
    "repository": "Git repository", "repository_secret": "Key or token for it", "known_hosts": "Host keys",
    "repository_ca": "Authority of the Git server",
    **{name: option.label for name, option in OPTIONS.items()},
}  # fmt: skip
ACCESS = ("authentication", "server", "ca", "token", "kubeconfig", *repository.FIELDS)
GIT_TITLE = "Git repository (for the driver GitOps)"
PASTE_AGAIN = "It was not kept: paste it again."


@require_http_methods(["GET", "POST"])
@recently_proved(why="You register a cluster with a credential of it.")
def cluster_create(request: PortalRequest) -> HttpResponseBase:
    """Register a cluster."""
    require_anywhere(request.principal, "create", Cluster)
    typed, problem = _typed(request), None
    if request.method == "POST":
        try:
            made = registering.create_cluster(
                request.principal,
                slug=typed["slug"].strip(),
                name=typed["name"],
                driver=typed["driver"],
                environments=typed["environments"],
                access={name: typed[name] for name in ACCESS},
                options={name: typed[name] for name in OPTIONS},
            )
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{made.name} is registered. A first test is on its way.")
            return redirect("cluster_detail", cluster=made.slug)
    groups = [
        _group("What it is", _naming(typed, problem), environments=_environments(typed)),
        _group("How the portal gets in", _access(typed, problem)),
        _group("How the portal behaves there", _options(typed, problem)),
        _group(GIT_TITLE, [*_repository(typed, problem), *_options(typed, problem, GIT)]),
    ]
    words = ("Connect a cluster", "Register the cluster", reverse("cluster_list"))
    return _form(request, words, groups, problem, driver=typed["driver"])


@require_http_methods(["GET", "POST"])
def cluster_change(request: PortalRequest, cluster: str) -> HttpResponse:
    """Change name, environments and options."""
    row = cluster_or_404(request, cluster, "change")
    typed: dict[str, Any] = {"name": row.name, "environments": row.environments} | clean(row.options)
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = {"name": request.POST.get("name", ""), "environments": request.POST.getlist("environments")}
        # What does not stand in the form, as what is Git's for other drivers, stays as it is.
        typed |= {name: request.POST.get(name, value) for name, value in clean(row.options).items()}
        try:
            registering.change(
                request.principal,
                row,
                name=typed["name"],
                environments=typed["environments"],
                options={name: typed[name] for name in OPTIONS} if has_api(row) else None,
            )
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{typed['name']} is saved.")
            return redirect("cluster_detail", cluster=row.slug)
    groups = [_group("What it is", [_name(typed, problem)], environments=_environments(typed))]
    if has_api(row):
        groups.append(_group("How the portal behaves there", _options(typed, problem)))
    if row.driver == repository.DRIVER:
        groups.append(_group("Git repository", _options(typed, problem, GIT)))
    return _form(request, (f"Change {row.name}", "Save", _detail(row)), groups, problem, row=row)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change how the portal gets into a cluster.")
def cluster_rotate(request: PortalRequest, cluster: str) -> HttpResponseBase:
    """Give a cluster a new credential, and with it another server or authority."""
    row = cluster_or_404(request, cluster, "rotate")
    if not has_api(row):
        raise Conflict(f"{row.name} runs on this machine and needs no credential.", code="no_credential")
    way = "in_cluster" if row.authentication == "in_cluster" else "token"
    typed: dict[str, Any] = {"authentication": way, "server": row.server, "ca": row.ca, "token": "", "kubeconfig": ""}
    typed |= {name: getattr(row, name, "") for name in repository.FIELDS}
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = {name: request.POST.get(name, "") for name in ACCESS}
        try:
            registering.rotate(request.principal, row, access=typed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{row.name} has its new credential. A test of it is on its way.")
            return redirect("cluster_detail", cluster=row.slug)
    groups = [_group("How the portal gets in", _access(typed, problem))]
    if row.driver == repository.DRIVER:
        groups.append(_group("Git repository", _repository(typed, problem)))
    words = (f"New credential for {row.name}", "Replace the credential", _detail(row))
    return _form(request, words, groups, problem, row=row, driver=row.driver)


def _detail(row: Cluster) -> str:
    return reverse("cluster_detail", args=[row.slug])


def _typed(request: HttpRequest) -> dict[str, Any]:
    given = request.POST if request.method == "POST" else request.GET
    defaults = {"driver": "kubernetes", "authentication": "token"} | {
        name: option.default for name, option in OPTIONS.items()
    }
    names = ("slug", "name", "driver", *ACCESS, *OPTIONS)
    if request.method != "POST":  # an address fills in nothing but the driver
        return dict.fromkeys(names, "") | defaults | {"driver": given.get("driver", "kubernetes"), "environments": []}
    return {name: given.get(name, "") for name in names} | {"environments": request.POST.getlist("environments")}


def _group(title: str, fields: list[dict[str, Any]], **also: Any) -> dict[str, Any]:
    return {"title": title, "fields": fields} | also


def _error(problem: Invalid | Conflict | None, name: str) -> str:
    return problem.fields.get(name, "") if problem else ""


def _environments(typed: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"value": value, "label": label, "chosen": value in typed["environments"]}
        for value, label in Environment.choices
    ]


def _name(typed: dict[str, Any], problem: Invalid | Conflict | None) -> dict[str, Any]:
    return {
        "name": "name", "label": LABELS["name"], "kind": "text", "value": typed["name"], "required": True,
        "help": "What people read, for example “OpenShift Frankfurt 1”.", "error": _error(problem, "name"),
        "attrs": {"maxlength": 80},
    }  # fmt: skip


def _naming(typed: dict[str, Any], problem: Invalid | Conflict | None) -> list[dict[str, Any]]:
    drivers = [(name, cluster_cells.driver_name(name), False) for name in settings.CLUSTER_DRIVERS if name in GRANTS]
    return [
        _name(typed, problem),
        {"name": "slug", "label": LABELS["slug"], "kind": "text", "value": typed["slug"], "required": True,
         "help": "Short and for good: pools, files and the audit log name the cluster by it.",
         "error": _error(problem, "slug"), "attrs": {"maxlength": 40, "spellcheck": "false"}},
        {"name": "driver", "label": LABELS["driver"], "kind": "select", "value": typed["driver"], "choices": drivers,
         "help": "Kubernetes makes deployments itself; KServe makes InferenceServices, as OpenShift AI shows them;"
         " GitOps commits to a repository that Argo CD, Flux or somebody else applies.",
         "error": _error(problem, "driver")},
    ]  # fmt: skip


def _access(typed: dict[str, Any], problem: Invalid | Conflict | None) -> list[dict[str, Any]]:
    again = PASTE_AGAIN if problem else ""
    plain = {"spellcheck": "false", "autocomplete": "off"}
    return [
        {"name": "authentication", "label": LABELS["authentication"], "kind": "select",
         "value": typed["authentication"], "choices": [(name, words, False) for name, words in WAYS.items()],
         "error": _error(problem, "authentication")},
        {"name": "server", "label": LABELS["server"], "kind": "text", "value": typed["server"],
         "help": "For example https://api.example.com:6443. A kubeconfig brings its own.",
         "error": _error(problem, "server"), "attrs": plain | {"maxlength": 500, "inputmode": "url"}},
        {"name": "ca", "label": LABELS["ca"], "kind": "textarea", "value": typed["ca"],
         "help": "The CA of the API server, in PEM or base64. Empty where a public authority signed it.",
         "error": _error(problem, "ca"), "attrs": plain | {"rows": 4}},
        {"name": "token", "label": LABELS["token"], "kind": "password", "value": "",
         "help": f"Of a ServiceAccount with the role in the manifest. Kept encrypted, never shown again. {again}",
         "error": _error(problem, "token"), "attrs": {"spellcheck": "false", "autocomplete": "new-password"}},
        {"name": "kubeconfig", "label": LABELS["kubeconfig"], "kind": "textarea", "value": "",
         "help": "What `kubectl config view --raw --flatten --minify` prints. Programs and files in it are refused."
         f" {again}", "error": _error(problem, "kubeconfig"), "attrs": plain | {"rows": 6}},
    ]  # fmt: skip


def _repository(typed: dict[str, Any], problem: Invalid | Conflict | None) -> list[dict[str, Any]]:
    plain = {"spellcheck": "false", "autocomplete": "off"}
    again = PASTE_AGAIN if problem else ""
    return [
        {"name": "repository", "label": LABELS["repository"], "kind": "text", "value": typed["repository"],
         "help": "ssh://git@git.example.com/platform/fleet.git, or https://…; what is approved is committed there.",
         "error": _error(problem, "repository"), "attrs": plain | {"maxlength": 500, "inputmode": "url"}},
        {"name": "repository_secret", "label": LABELS["repository_secret"], "kind": "textarea", "value": "",
         "help": f"A deploy key that may write, without a passphrase, or a token. Kept encrypted, never shown. {again}",
         "error": _error(problem, "repository_secret"), "attrs": plain | {"rows": 4}},
        {"name": "known_hosts", "label": LABELS["known_hosts"], "kind": "textarea", "value": typed["known_hosts"],
         "help": "For ssh://: lines of known_hosts. Another key is never accepted.",
         "error": _error(problem, "known_hosts"), "attrs": plain | {"rows": 3}},
        {"name": "repository_ca", "label": LABELS["repository_ca"], "kind": "textarea", "value": typed["repository_ca"],
         "help": "For https://, in PEM. Empty where a public authority signed it.",
         "error": _error(problem, "repository_ca"), "attrs": plain | {"rows": 3}},
    ]  # fmt: skip


def _options(typed: dict[str, Any], problem: Invalid | Conflict | None, group: str = "") -> list[dict[str, Any]]:
    fields = []
    for name, option in OPTIONS.items():
        if option.group != group:
            continue
        field = {"name": name, "label": option.label, "value": typed[name], "help": option.help}
        field |= {"error": _error(problem, name)}
        if option.choices:
            field |= {"kind": "select", "choices": [(value, label, False) for value, label in option.choices]}
        else:
            field |= {"kind": "text", "attrs": {"maxlength": option.most, "spellcheck": "false"}}
        fields.append(field)
    return fields


def _form(
    request: PortalRequest,
    words: tuple[str, str, str],
    groups: list[dict[str, Any]],
    problem: Invalid | Conflict | None,
    *,
    row: Cluster | None = None,
    driver: str = "",
) -> HttpResponse:
    heading, submit, cancel = words
    errors = (problem.errors or [{"field": "slug", "message": problem.sentence}]) if problem else []
    context = {
        "crumbs": crumbs((row.name, _detail(row)), (submit, "")) if row else crumbs((heading, "")),
        "heading": heading,
        "lead": "" if row else "A place where endpoints run. The portal needs an account there, and no more than it.",
        "groups": groups,
        "errors": [error | {"label": LABELS.get(error["field"], error["field"])} for error in errors],
        "environments_error": _error(problem, "environments"),
        "action_url": request.path,
        "submit_label": submit,
        "cancel_url": cancel,
        "manifests": [
            {
                "driver": cluster_cells.driver_name(name),
                "url": manifest_url(row) if row else reverse("cluster_manifest", args=[name]),
            }
            for name in ([driver] if row else GRANTS)
        ] if driver else [],
    }  # fmt: skip
    return page(request, "endpoints/cluster_form.html", context, status=problem.status if problem else 200)
