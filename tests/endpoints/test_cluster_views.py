"""The pages of clusters: health at a glance, forms that never send a secret back, maintenance, and the manifest."""

import datetime as dt
import html
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Row
from endpoints.clusters import rbac
from endpoints.clusters.checks import Check, Report
from endpoints.fleet import examining
from endpoints.models import Cluster, Endpoint, Phase
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.factories import make_cluster, make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]
SECRET = "s3cr3t-t0ken-value"
FORM = {
    "slug": "lab", "name": "Lab", "driver": "kubernetes", "environments": ["dev", "staging"],
    "authentication": "token", "server": "https://10.1.2.3:6443", "token": SECRET,
}  # fmt: skip


@pytest.fixture
def place(org: Org) -> Cluster:
    return make_place(org.pat)


@pytest.fixture
def pat(org: Org, client_for: Clients) -> Client:
    return client_for(org.pat)


def text(response: Any) -> str:
    assert response.status_code in {200, 422, 409, 286}, response.status_code
    return re.sub(r"\s+", " ", response.content.decode())


def keep(cluster: Cluster, *checks: Check, **report: Any) -> Cluster:
    """What a worker would have written."""
    examining.keep(cluster, Report(checks, **report), timezone.now())
    cluster.refresh_from_db()
    return cluster


def test_register_by_the_form_and_find_it_in_the_list(pat: Client, org: Org) -> None:
    form = text(pat.get("/clusters/new/"))
    assert "/clusters/access/kserve/" in form and "Kubeconfig" in form
    response = pat.post("/clusters/new/", FORM)
    assert response.status_code == 302 and response["Location"] == "/clusters/lab/"
    made = Cluster.objects.get(slug="lab")
    assert made.environments == ["dev", "staging"] and made.options["namespace_prefix"] == "gatehouse"
    assert SECRET not in text(pat.get("/clusters/lab/"))
    listed = text(pat.get("/clusters/"))
    assert "Lab" in listed and "Not tested" in listed and "staging" in listed


@pytest.mark.parametrize(("field", "value", "word"), [
    ("token", "two words", "token"), ("server", "https://169.254.169.254", "never calls"), ("slug", "Bad Slug", "slug"),
    ("server", "http://10.1.2.3", "https://"), ("environments", [], "environments must name"),
])  # fmt: skip
def test_a_mistake_keeps_what_was_typed_except_secrets(pat: Client, field: str, value: Any, word: str) -> None:
    response = pat.post("/clusters/new/", FORM | {"kubeconfig": f"token: {SECRET}", field: value})
    page = text(response)
    assert response.status_code == 422 and word in page and 'value="Lab"' in page
    assert SECRET not in page and "paste it again" in page
    assert not Cluster.objects.exists()


def test_a_taken_slug_is_said_on_the_form(pat: Client, place: Cluster) -> None:
    response = pat.post("/clusters/new/", FORM | {"slug": "outpost"})
    assert response.status_code == 409 and "exists already" in text(response)


def test_a_kubeconfig_that_runs_a_program_is_refused_with_what_to_do(pat: Client) -> None:
    config = {
        "kind": "Config", "current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://10.0.0.1"}}],
        "users": [{"name": "a", "user": {"exec": {"command": "aws", "env": [{"name": "K", "value": SECRET}]}}}],
    }  # fmt: skip
    page = text(
        pat.post("/clusters/new/", FORM | {"authentication": "kubeconfig", "kubeconfig": yaml.safe_dump(config)})
    )
    assert "the portal runs none" in page and "ServiceAccount" in page and SECRET not in page


def test_the_page_says_what_is_missing_and_what_to_do(pat: Client, place: Cluster) -> None:
    fix = "Apply the manifest again."
    keep(
        place,
        Check("reachable", "pass", "10.0.0.7 port 6443 answers."),
        Check("permissions", "pass", "Why.", what="get pods"),
        Check("permissions", "fail", "The account may not patch deployments.apps.", fix, "patch deployments.apps"),
        Check("accelerators", "warn", "No accelerator is offered by 3 nodes.", "Install the operator."),
        version="v1.36.2", seen=True,
    )  # fmt: skip
    page = text(pat.get("/clusters/outpost/"))
    assert "Incomplete" in page and "The account may not patch deployments.apps." in page and fix in page
    assert "1 of 2 verbs are granted" in page and "No accelerator is offered" in page and "v1.36.2" in page
    assert "1 verb is granted" in page, "what is granted folds away"
    assert "outpost-token" not in page and "hx-get" not in page.split('id="cluster-checks"')[1].split(">")[0]


def test_a_test_is_asked_for_and_polled_until_it_is_made(pat: Client, place: Cluster) -> None:
    Cluster.objects.update(asked_at=None)
    assert pat.get("/clusters/outpost/checks/")["Location"] == "/clusters/outpost/"
    assert "every 2s" not in text(pat.get("/clusters/outpost/"))
    assert pat.post("/clusters/outpost/test/")["Location"] == "/clusters/outpost/"
    htmx = {"HX-Request": "true"}
    waiting = pat.get("/clusters/outpost/checks/", headers=htmx)
    assert waiting.status_code == 200 and "every 2s" in text(waiting)
    place.refresh_from_db()
    keep(place, Check("reachable", "pass", "There."), Check("metrics", "pass", "Served."), seen=True)
    done = pat.get("/clusters/outpost/checks/", headers=htmx)
    assert done.status_code == 286 and "every 2s" not in text(done) and "Served." in text(done)
    assert done["HX-Refresh"] == "true", "chips and health above it may be others now"
    assert Row.objects.filter(action="clusters.test").count() == 1
    Cluster.objects.update(asked_at=timezone.now() - dt.timedelta(minutes=1))
    stuck = pat.get("/clusters/outpost/checks/", headers=htmx)
    assert stuck.status_code == 286 and "No worker has taken the test" in text(stuck)
    part = text(pat.post("/clusters/outpost/test/", headers=htmx))
    assert part.startswith("<section") and "on its way" in part


def test_health_in_words(pat: Client, place: Cluster) -> None:
    now = timezone.now()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"problem_code": "reachable", "problem_sentence": "Nothing listens there."}, "Not connected"),
        ({"problem_code": ""}, "Not tested"),
        ({"last_seen_at": now - dt.timedelta(minutes=20)}, "Silent"),
        ({"last_seen_at": now, "credential_ends": now + dt.timedelta(days=3)}, "Credential ends"),
        ({"credential_ends": now + dt.timedelta(days=300)}, "Connected"),
    ]
    for fields, word in cases:
        Cluster.objects.filter(pk=place.pk).update(**fields)
        assert word in text(pat.get("/clusters/")), word


def test_maintenance_wants_a_reason_and_shows_it(pat: Client, org: Org, client_for: Clients, place: Cluster) -> None:
    assert pat.post("/clusters/outpost/pause/", {"reason": "  "}).status_code == 422
    assert not Cluster.objects.get().paused
    assert pat.post("/clusters/outpost/pause/", {"reason": "Upgrade until noon"}).status_code == 302
    page = text(client_for(org.aud).get("/clusters/outpost/"))
    assert "Upgrade until noon" in page and "Begun by pat" in page and "End maintenance" not in page
    assert "End maintenance" in text(pat.get("/clusters/outpost/"))
    assert pat.post("/clusters/outpost/resume/").status_code == 302 and not Cluster.objects.get().paused


def test_rotate_keeps_server_and_never_shows_the_credential(pat: Client, place: Cluster) -> None:
    form = text(pat.get("/clusters/outpost/rotate/"))
    assert "https://10.0.0.7:6443" in form and "outpost-token" not in form
    sent = {"authentication": "token", "server": place.server, "ca": "", "token": f"{SECRET}-2"}
    wrong = pat.post("/clusters/outpost/rotate/", sent | {"server": "ftp://x"})
    assert wrong.status_code == 422 and SECRET not in text(wrong)
    assert pat.post("/clusters/outpost/rotate/", sent).status_code == 302
    assert SECRET not in text(pat.get("/clusters/outpost/"))
    make_cluster()
    assert pat.get("/clusters/local/rotate/").status_code == 409


def test_a_credential_waits_for_a_recent_proof(org: Org, client_for: Any, place: Cluster) -> None:
    old = client_for(org.pat, seconds_ago=100_000)
    response = old.post(
        "/clusters/outpost/rotate/", {"authentication": "token", "server": place.server, "token": SECRET}
    )
    assert response.status_code == 302 and "/accounts/" in response["Location"]
    assert Cluster.objects.get().credential == place.credential


def test_change_and_remove(pat: Client, org: Org, place: Cluster) -> None:
    fields = {"name": "Outpost 2", "environments": ["prod"], "namespace_prefix": "gatehouse", "queue_name": "gpu"}
    assert pat.post("/clusters/outpost/change/", fields).status_code == 302
    assert Cluster.objects.get().name == "Outpost 2"
    endpoint = open_demo(org.fraud)
    Endpoint.objects.filter(pk=endpoint.pk).update(cluster=place)
    assert endpoint.name in text(pat.get("/clusters/outpost/"))
    refused = pat.post("/clusters/outpost/remove/", {"confirm": "outpost", "reason": "Gone."})
    assert refused.status_code == 422 and "1 endpoint lives on outpost" in text(refused)
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.DELETED)
    assert pat.post("/clusters/outpost/remove/", {"confirm": "outpos", "reason": "Gone."}).status_code == 422
    assert pat.post("/clusters/outpost/remove/", {"confirm": "outpost", "reason": "Gone."}).status_code == 302
    assert pat.get("/clusters/outpost/").status_code == 404
    assert pat.get(f"/endpoints/{endpoint.pk}/").status_code == 200, "the past is still readable"


def test_the_manifest_is_a_file_for_the_driver(pat: Client) -> None:
    response = pat.get("/clusters/access/kubernetes/")
    assert response["Content-Disposition"] == 'attachment; filename="gatehouse-access.yaml"'
    assert list(yaml.safe_load_all(response.content)) == rbac.objects("kubernetes", {})
    keda = pat.get("/clusters/access/kubernetes/?autoscaler=keda").content.decode()
    assert "keda.sh" in keda and "keda.sh" not in response.content.decode()
    assert pat.get("/clusters/access/local/").status_code == 404


def test_the_manifest_of_a_cluster_by_program(pat: Client, org: Org, api_for: Any, place: Cluster) -> None:
    """For its driver, options and mode, as its page links to it."""
    api = api_for(org.aud, "admin")
    plain = api.get("/clusters/outpost/rbac")
    assert (
        plain["Content-Type"].startswith("application/yaml") and "gatehouse-access.yaml" in plain["Content-Disposition"]
    )
    assert list(yaml.safe_load_all(plain.content)) == rbac.objects("kubernetes", {})
    keda = {"autoscaler": "keda", "prometheus": "http://prometheus.monitoring:9090"}
    options = {**place.options, **keda, "namespace_prefix": "ml"}
    Cluster.objects.filter(pk=place.pk).update(options=options, admission="audit")
    link = re.search(r'"(/clusters/access/[^"]+)"', text(pat.get("/clusters/outpost/")))
    assert link is not None
    full = api.get("/clusters/outpost/rbac").content.decode()
    assert full == pat.get(html.unescape(link[1])).content.decode()
    assert "keda.sh" in full and "outpost-token" not in full
    assert list(yaml.safe_load_all(full)) == rbac.objects("kubernetes", {**options, "admission": "audit"})
    make_cluster()
    refusal = api.get("/clusters/local/rbac")
    assert (refusal.status_code, refusal.json()["code"]) == (409, "no_rbac")
    assert api_for(org.dana, "admin").get("/clusters/outpost/rbac").status_code == 403
    assert api_for(org.pat, "endpoints:read").get("/clusters/outpost/rbac").status_code == 403


def test_the_way_there_is_a_tab_beside_the_pools(pat: Client, org: Org, client_for: Clients) -> None:
    assert 'href="/clusters/"' in text(pat.get("/capacity/"))
    listed = text(pat.get("/clusters/"))
    entry = re.search(r'<a class="pf-v6-c-nav__link[^"]*" href="/capacity/"[^>]*>', listed)
    assert entry and "pf-m-current" in entry[0], "the menu marks the section"
    assert 'href="/clusters/"' not in text(client_for(org.dana).get("/capacity/"))


def test_counts_of_queries_do_not_grow_with_rows(pat: Client, org: Org, place: Cluster) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            text(pat.get(path))
        return len(seen)

    few = queries("/clusters/"), queries("/clusters/outpost/")
    for number in range(3):
        make_place(org.pat, slug=f"more-{number}")
        endpoint = open_demo(org.fraud, name=f"one-{number}")
        Endpoint.objects.filter(pk=endpoint.pk).update(cluster=place)
    many = queries("/clusters/"), queries("/clusters/outpost/")
    assert many == few and max(many) <= 15


def test_the_api_registers_operates_and_shows_no_secret(org: Org, api_for: Any) -> None:
    api = api_for(org.pat, "admin", "endpoints:read")
    body = {
        "slug": "lab", "name": "Lab", "driver": "kubernetes", "environments": ["dev"],
        "access": {"authentication": "token", "server": "https://10.1.2.3:6443", "token": SECRET},
    }  # fmt: skip
    made = api.post("/clusters", body)
    assert made.status_code == 201 and SECRET not in made.content.decode()
    assert made.json()["server"] == "https://10.1.2.3:6443" and made.json()["problem"] is None
    assert api.post("/clusters", body).json()["code"] == "name_taken"
    assert api.post("/clusters", body | {"slug": "other", "access": {"authentication": "token"}}).status_code == 422
    tag = made["ETag"]
    changed = api.patch("/clusters/lab", {"paused": True, "reason": "Upgrade", "name": "Lab 2"}, If_Match=tag)
    assert changed.json()["maintenance"]["reason"] == "Upgrade" and changed.json()["name"] == "Lab 2"
    assert api.patch("/clusters/lab", {}, If_Match="*").status_code == 422
    rotated = api.post("/clusters/lab/rotate", {"authentication": "token", "token": f"{SECRET}-2"})
    assert rotated.status_code == 200 and SECRET not in rotated.content.decode()
    assert api.post("/clusters/lab/test").json()["testing"] is True
    assert api.get("/clusters/lab/health").json()["checks"] == []
    plain = api_for(org.dana).get("/clusters/lab").json()
    assert set(plain) == {"slug", "name", "driver", "environments", "simulated", "paused"}
    assert api_for(org.aud).get("/clusters/lab").json()["server"] == "https://10.1.2.3:6443"
    assert api.delete("/clusters/lab").json() == {"slug": "lab", "removed": True}
    assert api.get("/clusters/lab").status_code == 404
    assert SECRET not in str(list(Row.objects.values()))
