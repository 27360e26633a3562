"""Registering, changing, rotating, pausing and removing clusters: guards, secrets, and what the audit log keeps."""

import base64
import datetime as dt
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from audit.models import Row
from endpoints import services, tasks
from endpoints.clusters import ClusterError
from endpoints.clusters.checks import Check, Report
from endpoints.drivers import place
from endpoints.fleet import asking, examining, maintenance, registering
from endpoints.fleet.credentials import opened
from endpoints.models import Cluster, Endpoint, Phase
from portal import crypto
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid
from projects.principal import Principal
from tests.cluster.certificates import Authority
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.factories import make_cluster, make_place, make_pool

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
SECRET = "s3cr3t-t0ken-value"
ACCESS = {"authentication": "token", "server": "https://10.1.2.3:6443", "token": SECRET}


def create(by: Any, **other: Any) -> Cluster:
    fields = {"slug": "lab", "name": "Lab", "driver": "kubernetes", "environments": ["prod", "dev"]}
    return registering.create_cluster(Principal.of(by), **{**fields, "access": ACCESS, **other})


def jwt(**claims: Any) -> str:
    """A token as a ServiceAccount has it; nobody checks its signature here."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{part}.c2lnbmF0dXJl"


def said(call: Callable[[], Any]) -> GatehouseError:
    with pytest.raises(GatehouseError) as raised:
        call()
    assert SECRET not in raised.value.sentence
    return raised.value


def test_a_cluster_is_registered_and_its_secret_stands_nowhere(org: Org, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    ends = int(timezone.now().timestamp()) + 86_400
    token = jwt(exp=ends, sub="system:serviceaccount:gatehouse:gatehouse")
    made = create(org.pat, access=ACCESS | {"token": token})
    made.refresh_from_db()
    assert made.environments == ["dev", "prod"] and made.server == "https://10.1.2.3:6443"
    assert made.credential_ends == dt.datetime.fromtimestamp(ends, dt.UTC)
    assert token not in made.credential and opened(made).token == token
    assert place(made).token == token and token not in repr(place(made))
    assert made.asked_at is not None, "a first test is wanted"
    rows = list(Row.objects.filter(action="clusters.create").values())
    assert len(rows) == 1 and token not in str(rows) and "10.1.2.3" in str(rows)
    assert token not in caplog.text


def test_each_registration_has_a_mark_of_its_own_that_a_change_keeps(org: Org) -> None:
    """Two portals with the same prefix on one cluster must never clear away each other's engines."""
    one, two = create(org.pat), create(org.pat, slug="second")
    marks = {cluster.options["installation"] for cluster in (one, two)}
    assert len(marks) == 2 and all(mark.startswith("gatehouse-") for mark in marks)
    registering.change(Principal.of(org.pat), one, options={"installation": ""})
    assert Cluster.objects.get(pk=one.pk).options["installation"] == one.options["installation"]
    adopted = create(org.pat, slug="third", options={"installation": one.options["installation"]})
    assert place(adopted).settings["installation"] == one.options["installation"], "what a lost portal left is found"


def test_a_token_that_has_ended_is_not_taken(org: Org) -> None:
    """Whoever gives it has copied an old one, and would lock the portal out."""
    now = int(timezone.now().timestamp())
    made = create(org.pat, access=ACCESS | {"token": jwt(exp=now - 60)})  # clocks may differ
    ended = ACCESS | {"token": jwt(exp=now - 3600)}
    error = said(lambda: registering.rotate(Principal.of(org.pat), made, access=ended))
    assert "has ended on" in error.sentence and "token" in error.fields
    assert made.credential == Cluster.objects.get(pk=made.pk).credential, "the one before works on"


@pytest.mark.parametrize("who", ["dana", "omar", "vic", "yasmine", "aud", "cy"])
def test_only_engineers_operate_clusters(org: Org, who: str) -> None:
    cluster, by = make_place(org.pat), Principal.of(getattr(org, who))
    before = Row.objects.count()
    for call in (
        lambda: create(getattr(org, who)),
        lambda: registering.change(by, cluster, name="Mine"),
        lambda: registering.rotate(by, cluster, access=ACCESS),
        lambda: registering.remove(by, cluster),
        lambda: maintenance.pause(by, cluster, reason="x"),
        lambda: maintenance.resume(by, cluster),
        lambda: asking.ask_for_test(by, cluster),
    ):
        with pytest.raises(Forbidden):
            call()
    assert Row.objects.count() == before and Cluster.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"slug": "Not A Slug"}, "slug"),
        ({"slug": "new"}, "slug"),
        ({"slug": "access"}, "slug"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"driver": "nomad"}, "driver"),
        ({"environments": []}, "environments"),
        ({"environments": ["dev", "moon"]}, "environments"),
        ({"access": {}}, "authentication"),
        ({"access": {"authentication": "password"}}, "authentication"),
        ({"access": ACCESS | {"token": ""}}, "token"),
        ({"access": ACCESS | {"token": f"{SECRET} {SECRET}"}}, "token"),
        ({"access": ACCESS | {"token": f"{SECRET}\nX-Injected: 1"}}, "token"),
        ({"access": ACCESS | {"token": "é" * 10}}, "token"),
        ({"access": ACCESS | {"token": "a" * 20_000}}, "token"),
        ({"access": ACCESS | {"server": ""}}, "server"),
        ({"access": ACCESS | {"server": "http://10.1.2.3:6443"}}, "server"),
        ({"access": ACCESS | {"server": "https://user:pw@10.1.2.3:6443"}}, "server"),
        ({"access": ACCESS | {"server": "https://10.1.2.3:6443/?x=1"}}, "server"),
        ({"access": ACCESS | {"server": "https://10.1.2.3:99999"}}, "server"),
        ({"access": ACCESS | {"server": "https://[::1"}}, "server"),
        ({"access": ACCESS | {"server": "file:///etc/passwd"}}, "server"),
        ({"access": ACCESS | {"server": "https://169.254.169.254"}}, "server"),
        ({"access": ACCESS | {"server": "https://[::ffff:169.254.169.254]"}}, "server"),
        ({"access": ACCESS | {"server": "https://168.63.129.16"}}, "server"),
        ({"access": ACCESS | {"server": "https://0.0.0.0:6443"}}, "server"),
        ({"access": ACCESS | {"ca": "no certificate"}}, "ca"),
        ({"access": ACCESS | {"ca": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"}}, "ca"),
        ({"access": ACCESS | {"ca": "x" * 200_000}}, "ca"),
        ({"access": {"authentication": "kubeconfig", "kubeconfig": "kind: Pod"}}, "kubeconfig"),
        ({"options": {"namespace_prefix": "Nope!"}}, "namespace_prefix"),
        ({"options": {"namespace_prefix": "a" * 15}}, "namespace_prefix"),
        ({"options": {"run_as_user": "0"}}, "run_as_user"),
        ({"options": {"run_as_user": "root"}}, "run_as_user"),
        ({"options": {"autoscaler": "magic"}}, "autoscaler"),
        ({"options": {"autoscaler": "keda"}}, "prometheus"),
        ({"options": {"prometheus": "javascript:alert(1)"}}, "prometheus"),
        ({"options": {"nothing": "x"}}, "options"),
        ({"options": {"queue_name": 7}}, "queue_name"),
    ],
    ids=range(39),
)
def test_what_is_refused_names_its_field(org: Org, fields: dict[str, Any], at: str) -> None:
    error = said(lambda: create(org.pat, **fields))
    assert isinstance(error, Invalid) and list(error.fields) == [at]
    assert not Cluster.known.exists() and not Row.objects.filter(action__startswith="clusters.").exists()


def test_private_addresses_are_for_clusters_only_and_loopback_where_it_is_allowed(org: Org, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = settings.OUTBOUND_ALLOW | {"cluster": ["10.0.0.0/8"]}
    error = said(lambda: create(org.pat, access=ACCESS | {"server": "https://127.0.0.1:6443"}))
    assert "GATEHOUSE_CLUSTER_ALLOW" in error.sentence
    settings.OUTBOUND_ALLOW["cluster"].append("127.0.0.0/8")
    assert create(org.pat, access=ACCESS | {"server": "https://127.0.0.1:6443/"}).server == "https://127.0.0.1:6443"


def test_a_kubeconfig_with_a_certificate_as_kind_prints_it(org: Org, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("admin")
    data = [
        base64.b64encode(path.read_bytes()).decode() for path in (authority.certificate, pair.certificate, pair.key)
    ]
    text = f"""
kind: Config
current-context: kind
contexts: [{{name: kind, context: {{cluster: kind, user: kind}}}}]
clusters: [{{name: kind, cluster: {{server: "https://127.0.0.1:40123", certificate-authority-data: {data[0]}}}}}]
users: [{{name: kind, user: {{client-certificate-data: {data[1]}, client-key-data: {data[2]}}}}}]
"""
    made = create(org.pat, access={"authentication": "kubeconfig", "kubeconfig": text})
    assert made.authentication == "certificate" and made.ca == authority.certificate.read_text(encoding="ascii")
    assert "PRIVATE KEY" in place(made).key and "PRIVATE KEY" not in repr(place(made)) + made.credential
    assert made.credential_ends and made.credential_ends > timezone.now()
    other = base64.b64encode(authority.issue("other").key.read_bytes()).decode()
    error = said(lambda: registering.rotate(Principal.of(org.pat), made, access={
        "authentication": "kubeconfig", "kubeconfig": text.replace(data[2], other)}))  # fmt: skip
    assert "does not belong" in error.sentence


def test_an_authority_may_come_in_base64(org: Org, tmp_path: Path) -> None:
    pem = Authority(tmp_path).certificate.read_text(encoding="ascii")
    made = create(org.pat, access=ACCESS | {"ca": base64.b64encode(pem.encode()).decode()})
    assert made.ca.strip() == pem.strip() and place(made).ca == made.ca


def test_the_portals_own_cluster_needs_no_secret(org: Org) -> None:
    made = create(org.pat, access={"authentication": "in_cluster"})
    assert place(made).in_cluster and made.credential == "" and made.server == "https://kubernetes.default.svc"


def test_a_change_is_recorded_by_field_and_a_prefix_is_fixed_while_endpoints_live(org: Org) -> None:
    pat, made = Principal.of(org.pat), create(org.pat)
    changed = registering.change(pat, made, name=" Lab 2 ", environments=["staging"], options={"queue_name": "gpu"})
    assert (changed.name, changed.environments) == ("Lab 2", ["staging"]) and changed.options["queue_name"] == "gpu"
    [row] = Row.objects.filter(action="clusters.change")
    assert set(json.loads(row.after)) == {"name", "environments", "options"}
    registering.change(pat, made, name="Lab 2")
    assert Row.objects.filter(action="clusters.change").count() == 1, "nothing changed, nothing recorded"
    endpoint = open_demo(org.fraud)
    Endpoint.objects.filter(pk=endpoint.pk).update(cluster=made)
    error = said(lambda: registering.change(pat, made, options={"namespace_prefix": "other"}))
    assert isinstance(error, Conflict) and error.code == "cluster_in_use"
    assert registering.change(pat, made, options={"queue_name": ""}).options["queue_name"] == ""
    with pytest.raises(Invalid):
        registering.change(pat, make_cluster(), options={"queue_name": "x"})


def test_a_new_credential_forgets_what_the_old_one_found(org: Org) -> None:
    pat, made = Principal.of(org.pat), create(org.pat)
    Cluster.objects.filter(pk=made.pk).update(
        version="v1.36.2", problem_code="credential", problem_sentence="Ended.", last_seen_at=timezone.now(),
        checks=[Check("credential", "fail", "Ended.").as_json()], asked_at=None,
    )  # fmt: skip
    changed = registering.rotate(pat, made, access={"authentication": "token", "token": f"{SECRET}-2"})
    assert opened(changed).token == f"{SECRET}-2" and changed.server == made.server, "the server stays"
    changed.refresh_from_db()
    assert (changed.version, changed.problem_code, changed.checks, changed.last_seen_at) == ("", "", [], None)
    assert changed.asked_at is not None
    moved = registering.rotate(pat, made, access=ACCESS | {"server": "https://10.9.9.9:6443"})
    assert moved.server == "https://10.9.9.9:6443"
    rows = Row.objects.filter(action="clusters.rotate")
    assert rows.count() == 2 and SECRET not in str(list(rows.values())) and "10.9.9.9" in str(list(rows.values()))
    with pytest.raises(Conflict):
        registering.rotate(pat, make_cluster(), access=ACCESS)
    with pytest.raises(TypeError):
        registering.change(pat, made, server="https://evil.example")  # type: ignore[call-arg]


def test_a_key_that_is_gone_is_a_cluster_error_and_reencrypting_covers_credentials(org: Org, settings: Any) -> None:
    made, old = create(org.pat), list(settings.GATEHOUSE_ENCRYPTION_KEYS)
    settings.GATEHOUSE_ENCRYPTION_KEYS = [crypto.new_encryption_key(), *old]
    call_command("reencrypt")
    settings.GATEHOUSE_ENCRYPTION_KEYS = settings.GATEHOUSE_ENCRYPTION_KEYS[:1]
    made.refresh_from_db()
    assert opened(made).token == SECRET
    settings.GATEHOUSE_ENCRYPTION_KEYS = old
    with pytest.raises(ClusterError, match="GATEHOUSE_ENCRYPTION_KEYS"):
        place(made)
    assert examining.examine(made).problem is not None, "a finding, not an error"


def test_maintenance_keeps_who_began_it_and_nudges_what_waits(
    org: Org, broker: Any, django_capture_on_commit_callbacks: Any
) -> None:
    pat, ravi = Principal.of(org.pat), Principal.of(org.ravi)
    endpoint = open_demo(org.fraud)
    cluster = endpoint.cluster
    paused = maintenance.pause(pat, cluster, reason=" Upgrade until noon ")
    assert paused.paused and (paused.paused_reason, paused.paused_by) == ("Upgrade until noon", "pat")
    since = paused.paused_since
    again = maintenance.pause(ravi, cluster, reason="Mine")
    assert (again.paused_by, again.paused_since, again.paused_reason) == ("pat", since, "Upgrade until noon")
    [row] = Row.objects.filter(action="clusters.pause")
    assert row.reason == "Upgrade until noon"
    with django_capture_on_commit_callbacks(execute=True):
        ended = maintenance.resume(ravi, cluster)
    assert (ended.paused, ended.paused_reason, ended.paused_by, ended.paused_since) == (False, "", "", None)
    assert str(endpoint.pk) in str(broker.sent)
    assert Row.objects.filter(action="clusters.resume").count() == 1
    with pytest.raises(Invalid):
        maintenance.pause(pat, cluster, reason="x" * 301)


def test_a_cluster_goes_when_nothing_lives_on_it(org: Org) -> None:
    pat, made, endpoint = Principal.of(org.pat), create(org.pat), open_demo(org.fraud)
    Endpoint.objects.filter(pk=endpoint.pk).update(cluster=made)
    assert "1 endpoint lives" in said(lambda: registering.remove(pat, made)).sentence
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.DELETED)
    pool = make_pool(slug="theirs")
    type(pool).objects.filter(pk=pool.pk).update(cluster="lab")
    assert "pool theirs" in said(lambda: registering.remove(pat, made)).sentence
    type(pool).objects.filter(pk=pool.pk).update(cluster="local")
    registering.remove(pat, made, reason="Moved.")
    assert not Cluster.objects.filter(slug="lab").exists()
    kept = Cluster.known.get(slug="lab")
    assert kept.credential == "" and kept.removed_at and Endpoint.objects.get(pk=endpoint.pk).cluster == kept
    assert "old endpoints still name it" in said(lambda: create(org.pat)).sentence
    [row] = Row.objects.filter(action="clusters.remove")
    assert row.reason == "Moved." and SECRET not in str(row.before)
    with pytest.raises(Conflict, match="removed a moment ago"):
        registering.remove(pat, made)
    fresh = create(org.pat, slug="never-used")
    registering.remove(pat, fresh)
    assert not Cluster.known.filter(slug="never-used").exists(), "without a past its name is free again"


def test_nothing_is_opened_on_a_cluster_that_was_removed_meanwhile(org: Org) -> None:
    made, endpoint = create(org.pat), open_demo(org.fraud)
    registering.remove(Principal.of(org.pat), made)
    revision = endpoint.revision
    assert revision is not None
    with pytest.raises(Conflict, match="removed"):
        services.open_endpoint(
            Principal.of(org.pat), project=org.fraud, name="late", environment="dev", cluster=made,
            version=revision.version, profile=revision.profile, replicas=1, concurrency=1, context_tokens=512,
            authorization=services.Authorization("R-9", "sha256:x"),
        )  # fmt: skip
    assert not Endpoint.objects.filter(name="late").exists()


def test_findings_are_kept_and_a_short_look_leaves_the_rest(org: Org) -> None:
    made = create(org.pat)
    red = Check("permissions", "fail", "The account may not patch pods.", "Apply it.", "patch pods")
    whole = (Check("reachable", "pass", "There."), Check("version", "pass", "v1.36.2"), red)
    asked = made.asked_at
    assert asked is not None
    examining.keep(made, Report(whole, "v1.36.2", seen=True), asked - dt.timedelta(seconds=1))
    made.refresh_from_db()
    assert made.asked_at == asked, "a test that began before it was asked for is not the one that is wanted"
    examining.keep(made, Report(whole, "v1.36.2", seen=True), timezone.now())
    made.refresh_from_db()
    assert (made.version, made.problem_code) == ("v1.36.2", "permissions")
    assert Cluster.objects.filter(pk=made.pk, asked_at=None).exists()
    seen = made.last_seen_at
    examining.keep(made, Report((Check("reachable", "fail", "Gone."),)), timezone.now())
    made.refresh_from_db()
    assert made.problem_code == "reachable" and made.last_seen_at == seen and made.version == "v1.36.2"
    assert [one["name"] for one in made.checks] == ["reachable", "version", "permissions"]
    examining.keep(made, Report((Check("reachable", "pass", "Back."),), seen=True), timezone.now())
    made.refresh_from_db()
    assert made.problem_code == "permissions", "what was missing is missing still"
    stale = Cluster.objects.get(pk=made.pk)
    registering.rotate(Principal.of(org.pat), made, access=ACCESS)
    examining.keep(stale, Report(whole, seen=True), timezone.now())
    made.refresh_from_db()
    assert made.checks == [] and made.last_seen_at is None, "a test with the old credential says nothing of the new one"


def test_each_cluster_is_looked_at_by_a_message_of_its_own(
    org: Org, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("endpoints.nudge.current_app.send_task", lambda name, args, **rest: sent.append(args))
    first, second = create(org.pat), make_place(org.pat, server="https://127.0.0.1:1")
    Cluster.objects.filter(pk=first.pk).update(asked_at=None, checked_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        assert examining.look_at_all() == 2
    assert sent == [[first.pk, False], [second.pk, True]], "whole where one is wanted"
    sent.clear()
    Cluster.objects.filter(pk=second.pk).update(asked_at=None, checked_at=timezone.now())
    for problem, whole in (("permissions", True), ("credential", False)):
        Cluster.objects.filter(pk=first.pk).update(problem_code=problem)
        with django_capture_on_commit_callbacks(execute=True):
            examining.look_at_all()
        assert sent.pop(0) == [first.pk, whole], "a short look does not see that a missing verb is there by now"
        sent.clear()
    tasks.look_at_cluster(second.pk, True)
    assert tasks.look_at_cluster.name == examining.TASK, "what is sent is what a worker knows"
    assert Cluster.objects.get(pk=second.pk).problem_code == "reachable", "nothing listens there"


def test_the_local_cluster_has_nothing_to_reach(org: Org) -> None:
    cluster = make_cluster()
    examining.look_at(cluster.pk, whole=True)
    cluster.refresh_from_db()
    assert cluster.problem_code == "" and {one["verdict"] for one in cluster.checks} == {"pass"}
