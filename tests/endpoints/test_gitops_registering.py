"""A cluster with a repository as people see it: the form, the API, the account that its manifest makes, and the
manifests of an endpoint.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from endpoints.clusters import rbac
from endpoints.clusters.gitops.words import WORDS
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import manifests
from endpoints.drivers import place, workload
from endpoints.fleet import registering
from endpoints.fleet.credentials import opened
from endpoints.models import Cluster, Endpoint
from endpoints.reading import endpoint_or_404
from portal.errors import Invalid
from projects.principal import Principal
from tests.cluster.fault_kit import with_image
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.endpoints.git_kit import Remote, git, new_key
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
KEY, HOST = new_key()
SSH = {
    "repository": "ssh://git@10.1.2.4:2222/fleet.git",
    "repository_secret": KEY,
    "known_hosts": f"[10.1.2.4]:2222 {HOST}",
}
TOKEN = "glpat-0123456789abcdefghij"
HTTPS = {"repository": "https://10.1.2.4/fleet.git", "repository_secret": TOKEN}
FORM = {
    "slug": "lab", "name": "Lab", "driver": "gitops", "environments": ["dev"], "authentication": "token",
    "server": "https://10.1.2.3:6443", "token": "the-token-of-the-cluster", **SSH,
}  # fmt: skip
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gitops.md"


def create(org: Org, **fields: str) -> Cluster:
    """Register one as an engineer does."""
    return make_place(org.pat, "lab", "gitops", **{**SSH, **fields})


def test_a_repository_is_registered_and_its_key_stands_nowhere(org: Org) -> None:
    made = create(org)
    made.refresh_from_db()
    secret = KEY.split("\n")[2]
    assert secret not in made.credential and opened(made).repository == KEY
    found = place(made)
    assert (found.repository, found.repository_secret) == (SSH["repository"], KEY) and secret not in repr(found)
    assert found.known_hosts == SSH["known_hosts"] + "\n" and found.settings["git_branch"] == "main"
    rows = str(list(Row.objects.values()))
    assert "10.1.2.4" in rows and secret not in rows


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"repository": ""}, "repository", "missing"),
        ({"repository": "ext::sh"}, "repository", "must look like"),
        ({"repository": "https://u:p@git.example.com/x"}, "repository", "password"),
        ({"repository": "https://169.254.169.254/x"}, "repository", "never calls"),
        ({"repository": "file:///srv/x.git"}, "repository", "GATEHOUSE_GIT_DIRECTORIES"),
        ({"repository": "http://10.1.2.4/x", "repository_secret": TOKEN}, "repository", "https://"),
        ({"repository_secret": ""}, "repository_secret", "missing"),
        ({"repository_secret": "-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense"}, "repository_secret", "cannot be read"),
        ({"known_hosts": ""}, "known_hosts", "missing"),
        ({"known_hosts": "nonsense"}, "known_hosts", "known_hosts"),
        ({"known_hosts": "a b c\n" * 9000}, "known_hosts", "limit"),
        (HTTPS | {"repository_secret": "two words"}, "repository_secret", "spaces"),
        (HTTPS | {"repository_ca": "nonsense"}, "repository_ca", "no certificate"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_field_and_no_secret(org: Org, fields: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        create(org, **fields)
    assert words in caught.value.fields[field] and TOKEN not in caught.value.sentence


@pytest.mark.parametrize("options", [
    {"git_branch": "a..b"}, {"git_branch": "gatehouse/x"}, {"git_branch": "-x"}, {"git_branch": "x.lock"},
    {"git_directory": "../x"}, {"git_directory": "/x"}, {"git_flow": "push"}, {"git_author_name": "A <b>"},
    {"git_author_name": "\ud800"},
    {"git_author_email": "nobody"}, {"applier": "argocd"}, {"applier": "argocd", "applier_object": "fleet"},
])  # fmt: skip
def test_options_that_are_none(org: Org, options: dict[str, str]) -> None:
    made = create(org)
    with pytest.raises(Invalid):
        registering.change(Principal.of(org.pat), made, options=options)


def test_the_repository_changes_with_its_key_alone(org: Org) -> None:
    """A key that is kept is never sent to another server."""
    made = create(org)
    by = Principal.of(org.pat)
    with pytest.raises(Invalid) as caught:
        registering.change(by, made, options={"repository": "ssh://git@evil.example.com/x"})
    assert "no option" in caught.value.sentence
    access = {"authentication": "token", "token": "another", "repository": "ssh://git@10.9.9.9/x"}
    with pytest.raises(Invalid) as caught:
        registering.rotate(by, made, access=access)
    assert "repository_secret" in caught.value.fields
    changed = registering.rotate(
        by, made, access={"authentication": "token", "token": "another", "repository_secret": KEY}
    )
    assert changed.repository == SSH["repository"] and changed.known_hosts == SSH["known_hosts"] + "\n"


def test_no_two_clusters_share_a_directory(org: Org) -> None:
    """Each would take the other's commits for edits by hand, and run what is meant for the other."""
    create(org)
    by = Principal.of(org.pat)
    access = {"authentication": "token", "server": "https://10.1.2.3:6443", "token": "the-token", **SSH}

    def register(slug: str, url: str, **options: str) -> Cluster:
        return registering.create_cluster(
            by, slug=slug, name=slug, driver="gitops", environments=["dev"], access=access | {"repository": url},
            options=options,
        )  # fmt: skip

    for url in (SSH["repository"], SSH["repository"].removesuffix(".git")):
        with pytest.raises(Invalid) as caught:
            register("second", url)
        assert "lab" in caught.value.fields["git_directory"]
    second = register("second", SSH["repository"], git_directory="second")
    register("third", SSH["repository"], git_branch="third")
    with pytest.raises(Invalid):
        registering.change(by, second, options={"git_directory": "gatehouse"})
    other = register("fourth", "ssh://git@10.1.2.4:2222/other.git")
    with pytest.raises(Invalid):
        registering.rotate(by, other, access=access)


def test_the_form_and_the_api_take_it_and_give_no_secret_back(
    org: Org, client_for: Callable[[Any], Client], api_for: Any
) -> None:
    pat = client_for(org.pat)
    assert "Git repository" in pat.get("/clusters/new/?driver=gitops").content.decode()
    page = pat.post("/clusters/new/", FORM | {"git_branch": "a..b"})
    assert page.status_code == 422 and KEY.split("\n")[2] not in page.content.decode()
    assert "name of a branch" in page.content.decode()
    assert pat.post("/clusters/new/", FORM | {"git_flow": "pull_request"}).status_code == 302
    made = Cluster.objects.get(slug="lab")
    assert made.options["git_flow"] == "pull_request"
    for path in ("/clusters/lab/", "/clusters/lab/change/", "/clusters/lab/rotate/"):
        shown = pat.get(path).content.decode()
        assert "10.1.2.4" in shown or "git_branch" in shown
        assert KEY.split("\n")[2] not in shown
    body = {
        "slug": "other", "name": "Other", "driver": "gitops", "environments": ["dev"],
        "access": {"authentication": "token", "server": "https://10.1.2.3:6443", "token": "t0ken", **HTTPS},
        "options": {"applier": "flux", "applier_object": "flux-system/fleet"},
    }  # fmt: skip
    answer = api_for(org.pat, "admin", "endpoints:read").post("/clusters", body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["repository"] == HTTPS["repository"] and TOKEN not in answer.content.decode()


def test_other_drivers_keep_no_repository(org: Org) -> None:
    made = make_place(org.pat, **SSH)
    assert made.repository == "" and opened(made).repository == ""


# --- The account


def rules(**settings: str) -> set[tuple[str, str, str]]:
    """What the account may do: (group, resource, verb)."""
    return {(ask.group, ask.resource, ask.verb) for ask in rbac.asks("gitops", settings)}


def test_the_account_writes_the_key_the_namespace_and_nothing_else() -> None:
    writing = {one for one in rules() if one[2] not in ("get", "list", "watch")}
    assert writing == {
        ("", "namespaces", "create"), ("", "pods", "delete"), ("", "secrets", "create"), ("", "secrets", "patch"),
        ("", "secrets", "delete"),
    }  # fmt: skip
    more = rules(admission="enforce") - rules()
    assert ("apps", "deployments", "create") in more, "asked as a dry run"
    assert not {one for one in more if one[2] in ("patch", "delete") and one[0] == "apps"}
    assert ("argoproj.io", "applications", "get") in rules(applier="argocd")
    assert ("kustomize.toolkit.fluxcd.io", "kustomizations", "get") in rules(applier="flux")


# --- Manifests of an endpoint


@pytest.fixture
def endpoint(org: Org, tmp_path: Path, settings: Any) -> Endpoint:
    """An endpoint on a cluster whose repository is on this machine."""
    settings.GIT_DIRECTORIES, settings.STATE_DIR = [str(tmp_path / "srv")], tmp_path / "state"
    made = open_demo(org.fraud)
    with_image(made.revision.version)  # type: ignore[union-attr]
    made.revision.runtime["image"] = f"registry.example.com/vllm@sha256:{'a' * 64}"  # type: ignore[union-attr]
    made.revision.save()  # type: ignore[union-attr]
    cluster = create(org, repository=Remote(tmp_path).url)
    Endpoint.objects.filter(pk=made.pk).update(cluster=cluster)
    return Endpoint.objects.get(pk=made.pk)


def test_manifests_show_what_is_written_and_where_it_stands(
    org: Org, endpoint: Endpoint, client_for: Callable[[Any], Client], api_for: Any, tmp_path: Path
) -> None:
    api = api_for(org.dana, "endpoints:read")
    before = api.get(f"/endpoints/{endpoint.pk}/manifests").json()
    assert before["repository"] is None
    row = endpoint_or_404(Principal.of(org.dana), endpoint.pk)
    assert row.revision is not None
    wanted, where = workload(row, row.revision, 1), place(row.cluster)
    commit = Writer(where).write(wanted, manifests.objects(where, wanted, "the-key"))
    body = api.get(f"/endpoints/{endpoint.pk}/manifests").json()
    kinds = {one["kind"] for one in body["items"]}
    assert {"Namespace", "Secret", "Service", "Deployment"} <= kinds
    told = {one["kind"]: yaml.safe_load(one["yaml"]) for one in body["items"]}
    assert told["Deployment"]["metadata"]["name"] == f"{told['Deployment']['metadata']['name'][:16]}-r1"
    assert told["Secret"]["data"] == {"key": "(hidden)"}
    assert body["repository"]["commit"] == commit and body["repository"]["branch"] == "main"
    assert body["repository"]["path"].startswith("gatehouse/")
    page = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/manifests/").content.decode()
    assert commit[:12] in page and "kind: Deployment" in page and "(hidden)" in page
    assert git(tmp_path / "srv" / "fleet.git", "rev-parse", "main").strip() == commit


def test_the_page_of_manifests_asks_little_and_says_when_there_are_none(
    org: Org, endpoint: Endpoint, client_for: Callable[[Any], Client]
) -> None:
    dana, local = client_for(org.dana), open_demo(org.fraud)
    assert "processes of the portal" in dana.get(f"/endpoints/{local.pk}/manifests/").content.decode()
    with CaptureQueriesContext(connection) as asked:
        assert dana.get(f"/endpoints/{endpoint.pk}/manifests/").status_code == 200
    assert len(asked) <= 15


def test_what_cannot_run_there_is_a_sentence(
    org: Org, endpoint: Endpoint, client_for: Callable[[Any], Client], api_for: Any
) -> None:
    revision = endpoint.revision
    assert revision is not None
    revision.runtime.pop("image")
    revision.save()
    page = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/manifests/")
    assert page.status_code == 200 and "names no container image" in page.content.decode()
    assert (
        api_for(org.dana, "endpoints:read").get(f"/endpoints/{endpoint.pk}/manifests").json()["code"] == "image_missing"
    )


def test_the_document_names_every_sentence() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for code, (_, what, fix) in WORDS.items():
        assert f"| `{code}` |" in text and f"{what} {fix}" in text, "add it to docs/gitops.md"
