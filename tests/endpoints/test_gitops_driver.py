"""The driver over a real repository and an API server in memory; somebody else applies what stands in Git."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints import decision
from endpoints.clusters import ClusterError, Observation, Place, Workload
from endpoints.clusters.feeds import Feed, Mark
from endpoints.clusters.gitops import applier, driver, following, source
from endpoints.clusters.gitops.driver import GitOpsDriver
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.facts import Action
from endpoints.models import Phase
from tests.endpoints.git_kit import Remote
from tests.endpoints.gitops_kit import apply
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import place, workload
from tests.endpoints.test_decision import facts

pytestmark = pytest.mark.slow


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    """The repository."""
    return Remote(tmp_path)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    """The cluster."""
    made = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


@pytest.fixture
def where(tmp_path: Path, remote: Remote, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The registered cluster."""
    settings.GIT_DIRECTORIES = [str(tmp_path / "srv")]
    monkeypatch.setattr(source, "FETCH_SECONDS", 0.0)
    monkeypatch.setattr(driver, "APPLIER_SECONDS", 0.0)
    monkeypatch.setattr(driver, "COMPARE_SECONDS", 0.0)
    return place(slug=f"git-{tmp_path.name[-30:]}", state_dir=tmp_path / "state", repository=remote.url)


def states(seen: Observation) -> list[tuple[int, str, str]]:
    """Revision, state and reason of each replica."""
    return [(one.revision, one.state, one.reason_code) for one in seen.replicas]


def test_from_a_commit_to_an_engine(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload(replicas=2)
    assert made.observe(wanted.endpoint_id).replicas == ()
    made.apply(wanted)
    assert {key[0] for key in double.objects} == {"namespaces", "secrets"}, "nothing else is written into the cluster"
    seen = made.observe(wanted.endpoint_id)
    assert states(seen) == [(1, "starting", "git_waits_applier")] * 2
    assert "stands on main; whoever applies the repository has not come to it yet" in seen.replicas[0].sentence
    apply(remote, double)
    seen = made.observe(wanted.endpoint_id)
    assert [one.state for one in seen.replicas] == ["ready", "ready"] and all(one.key for one in seen.replicas)
    assert not seen.drifted and seen.hold is None
    before = remote.count()
    made.apply(wanted)
    assert remote.count() == before, "what is so already is no commit"
    assert made.list() == [wanted.endpoint_id]
    whole = made.observe_all()[wanted.endpoint_id]
    assert states(whole) == states(seen) and whole.hold is None


def test_the_next_revision_starts_beside_and_the_old_one_ends_by_itself(
    where: Place, remote: Remote, double: Double
) -> None:
    made, first = GitOpsDriver(where), workload()
    made.apply(first)
    apply(remote, double)
    second = replace(first, revision=2, keep=(1,))
    made.apply(second)
    assert states(made.observe(first.endpoint_id)) == [(1, "ready", ""), (2, "starting", "git_waits_applier")]
    apply(remote, double)
    made.apply(replace(second, keep=()))
    seen = made.observe(first.endpoint_id)
    assert [(one.revision, one.ends_itself) for one in seen.replicas] == [(1, True), (2, False)]
    apply(remote, double)
    assert states(made.observe(first.endpoint_id)) == [(2, "ready", "")]


def test_an_engine_without_its_key_gets_it(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    (pod,) = double.of("pods")
    waiting = {
        "reason": "CreateContainerConfigError",
        "message": f'secret "{owned.key_name(wanted.endpoint_id)}" not found',
    }
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "engine", "state": {"waiting": waiting}}]}
    assert made.observe(wanted.endpoint_id).drifted


def test_suspend_and_remove_wait_for_who_applies(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    assert made.suspend(wanted.endpoint_id) is False
    with pytest.raises(ClusterError) as caught:
        made.suspend(wanted.endpoint_id)
    assert caught.value.code == "git_waits_applier"
    apply(remote, double)
    assert made.suspend(wanted.endpoint_id) is True and not made.observe(wanted.endpoint_id).present
    made.apply(wanted)
    apply(remote, double)
    assert made.observe(wanted.endpoint_id).ready_count == 1
    assert made.remove(wanted.endpoint_id) is False
    with pytest.raises(ClusterError):
        made.remove(wanted.endpoint_id)
    apply(remote, double)
    assert made.remove(wanted.endpoint_id) is True and made.list() == []
    assert double.of("secrets") == [] and not made.observe(wanted.endpoint_id).replicas


def test_a_proposal_waits_for_its_merge(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(replace(where, settings={"git_flow": "pull_request"})), workload()
    made.apply(wanted)
    (replica,) = made.observe(wanted.endpoint_id).replicas
    assert (replica.reason_code, replica.turn) == ("git_waits_merge", "platform")
    branch = next(one for one in remote.branches() if one != "main")
    assert branch in replica.sentence and "into main" in replica.sentence
    remote.merge(branch, squash=True)
    assert states(made.observe(wanted.endpoint_id)) == [(1, "starting", "git_waits_applier")]
    apply(remote, double)
    assert made.observe(wanted.endpoint_id).ready_count == 1


def test_what_is_proposed_over_an_edit_waits_for_its_merge(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(replace(where, settings={"git_flow": "pull_request"})), workload()
    made.apply(wanted)
    remote.merge(next(one for one in remote.branches() if one != "main"), squash=True)
    apply(remote, double)
    edited(remote, wanted)
    hold = made.observe(wanted.endpoint_id).hold
    assert hold is not None and hold.code == "git_edited"
    made.apply(replace(wanted, rewrite=True))
    hold = made.observe(wanted.endpoint_id).hold
    assert hold is not None and hold.code == "git_waits_merge", "what is to be done now is to merge it"
    remote.merge(next(one for one in remote.branches() if one != "main"), squash=True)
    assert made.observe(wanted.endpoint_id).hold is None


def test_a_suspension_that_nobody_merged_is_none(where: Place, remote: Remote, double: Double) -> None:
    """Whoever applies the repository would start the engines later."""
    made, wanted = GitOpsDriver(replace(where, settings={"git_flow": "pull_request"})), workload()
    made.apply(wanted)
    remote.merge(next(one for one in remote.branches() if one.endswith("-r1")), squash=True)
    assert made.suspend(wanted.endpoint_id) is False, "nothing runs in the cluster yet, and Git wants it"
    with pytest.raises(ClusterError) as caught:
        made.suspend(wanted.endpoint_id)
    assert caught.value.code == "git_waits_merge" and "-suspend" in caught.value.sentence
    remote.merge(next(one for one in remote.branches() if one.endswith("-suspend")), squash=True)
    assert made.suspend(wanted.endpoint_id) is True


def test_nothing_is_gone_while_git_is_away(where: Place, remote: Remote, double: Double, tmp_path: Path) -> None:
    """Also for a worker on a machine that never saw the repository."""
    wanted = workload()
    GitOpsDriver(where).apply(wanted)
    remote.path.rename(tmp_path / "srv" / "away.git")
    made = GitOpsDriver(replace(where, state_dir=tmp_path / "new"))
    for change in (made.suspend, made.remove):
        with pytest.raises(ClusterError) as caught:
            change(wanted.endpoint_id)
        assert caught.value.code == "git_repository_missing"


def test_what_was_edited_sleeps_too(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    path = edited(remote, wanted)
    apply(remote, double)
    assert made.suspend(wanted.endpoint_id) is False
    apply(remote, double)
    assert made.suspend(wanted.endpoint_id) is True
    seen = made.observe(wanted.endpoint_id)
    assert not seen.present and seen.hold is not None and "evil/image" in remote.read(path)


def edited(remote: Remote, wanted: Workload) -> str:
    """Somebody changes the image in Git; returns the file."""
    path = next(path for path in remote.files() if path.endswith("/deployment-r1.yaml"))
    remote.write({path: remote.read(path).replace(wanted.image, f"evil/image@sha256:{'b' * 64}")})
    return path


def test_an_edit_holds_and_is_compared_field_by_field(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    assert list(made.compare(wanted)) == []
    edited(remote, wanted)
    apply(remote, double)
    seen = made.observe(wanted.endpoint_id)
    assert seen.ready_count == 1 and seen.hold is not None and seen.hold.code == "git_edited"
    assert (whole := made.observe_all()[wanted.endpoint_id]).hold is not None and whole.ready_count == 1
    (found,) = made.compare(wanted)
    assert (found.kind, found.name) == ("Deployment", owned.name(wanted))
    assert found.field == "spec.template.spec.containers[engine].image"
    assert found.wanted == wanted.image and str(found.found).startswith("evil/image")
    assert (
        found.manager == "Mallory" and found.operation.startswith("commit ") and found.at is not None and not found.own
    )
    with pytest.raises(ClusterError):
        made.apply(wanted)
    made.apply(replace(wanted, rewrite=True))
    assert made.observe(wanted.endpoint_id).hold is None and list(made.compare(wanted)) == []


def test_compare_knows_files_that_are_gone_and_files_that_are_no_object(
    where: Place, remote: Remote, double: Double
) -> None:
    made, wanted = GitOpsDriver(where), workload(replicas=2)
    made.apply(wanted)
    base = next(path for path in remote.files() if path.endswith("/deployment-r1.yaml")).rpartition("/")[0]
    remote.write({
        f"{base}/service-r1.yaml": None, f"{base}/deployment-r1.yaml": "a: &a [1]\nb: *a\n", f"{base}/more.yaml": "x",
    })  # fmt: skip
    told = {(one.kind, one.found) for one in made.compare(wanted)}
    assert told == {
        ("Service", "no file"), ("Deployment", "a file that is no such object"),
        ("File", "a file that is not the portal's"),
    }  # fmt: skip


def test_one_that_cannot_be_written_keeps_nobody_from_being_compared(
    where: Place, remote: Remote, double: Double
) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    edited(remote, wanted)
    broken = replace(workload(), image="vllm:latest")
    found = dict(made.compare_all({broken.endpoint_id: broken, wanted.endpoint_id: wanted}))
    assert not found[broken.endpoint_id] and found[wanted.endpoint_id]


def test_compare_tells_of_everything_that_holds_an_endpoint(where: Place, remote: Remote, double: Double) -> None:
    """What is shown nowhere nobody can have written again."""
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    base = next(path for path in remote.files() if path.endswith("/deployment-r1.yaml")).rpartition("/")[0]
    seal, listing = f"{base}/provenance.json", f"{base}/kustomization.yaml"
    remote.write({listing: remote.read(listing) + "namePrefix: evil-\n"})
    assert [(one.name, one.found, one.manager) for one in made.compare(wanted)] == [(listing, "changed", "Mallory")]
    remote.write({seal: None})
    assert (seal, "no file") in {(one.name, one.found) for one in made.compare(wanted)}
    remote.write({base: None})
    assert [(one.name, one.found, one.manager) for one in made.compare(wanted)] == [
        (base, "no such directory", "Mallory")
    ]


@pytest.mark.parametrize("phase", [Phase.READY, Phase.PROVISIONING, Phase.DEGRADED])
def test_what_is_held_is_not_written_and_says_whose_turn_it_is(
    where: Place, remote: Remote, double: Double, phase: Phase
) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    edited(remote, wanted)
    seen = made.observe(wanted.endpoint_id)
    step = decision.decide(replace(facts(phase=phase), observation=seen))
    assert (step.phase, step.action, step.reason.code) == (Phase.READY, Action.NONE, "git_edited")
    assert step.reason.turn == "platform" and step.routes, "it goes on answering calls"
    step = decision.decide(replace(facts(phase=phase), observation=replace(seen, replicas=())))
    assert (step.action, step.reason.code, step.attempts) == (Action.NONE, "git_edited", 0)
    step = decision.decide(replace(facts(phase=phase, replicas=3), observation=seen))
    assert (step.action, step.reason.code) == (Action.NONE, "git_edited")


def test_what_was_taken_away_by_hand_is_not_ready_and_waits(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    base = next(path for path in remote.files() if path.endswith("/deployment-r1.yaml")).rpartition("/")[0]
    listing = f"{base.rpartition('/')[0]}/kustomization.yaml"
    remote.fetch()
    kept = remote.read(listing).replace(f"  - {base.rpartition('/')[2]}\n", "")
    remote.write({base: None, listing: kept})
    apply(remote, double)
    seen = made.observe(wanted.endpoint_id)
    step = decision.decide(replace(facts(phase=Phase.READY), observation=seen))
    assert (step.phase, step.action, step.reason.code) == (Phase.PROVISIONING, Action.NONE, "git_taken_away")
    assert "Mallory" in step.reason.sentence and step.routes == ()
    made.apply(replace(wanted, rewrite=True))
    apply(remote, double)
    assert made.observe(wanted.endpoint_id).ready_count == 1 and made.observe(wanted.endpoint_id).hold is None


def test_the_approval_is_in_the_cluster_before_the_commit_is_in_git(
    where: Place, remote: Remote, double: Double
) -> None:
    made, wanted = GitOpsDriver(replace(where, settings={"admission": "enforce"})), workload()
    double.objects["approvedworkloads", "x", "y"] = {"metadata": {}}  # the kind is there
    remote.hook("exit 1")
    with pytest.raises(ClusterError):
        made.apply(wanted)
    (found,) = [one for key, one in double.objects.items() if key[0] == "approvedworkloads" and key[2] == "gatehouse"]
    assert found["spec"]["approved"][owned.name(wanted)]["replicas"] == 1
    assert double.of("deployments") == [] and remote.count() == 1


def test_git_that_is_away_takes_nothing_from_what_runs(where: Place, remote: Remote, double: Double) -> None:
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    apply(remote, double)
    remote.path.rename(remote.path.with_name("away.git"))
    seen = made.observe(wanted.endpoint_id)
    assert seen.ready_count == 1 and seen.hold is None
    with pytest.raises(ClusterError) as caught:
        made.apply(replace(wanted, replicas=2))
    assert caught.value.code in ("git_repository_missing", "git_failed") and caught.value.retry


def test_two_portals_in_one_repository_leave_each_other_alone(where: Place, remote: Remote, double: Double) -> None:
    ours = GitOpsDriver(replace(where, settings={"installation": "ours"}))
    theirs = GitOpsDriver(replace(where, settings={"installation": "theirs", "git_directory": "other"}))
    mine, other = workload(), workload(name="other")
    ours.apply(mine)
    theirs.apply(replace(other, project="risk"))
    assert ours.list() == [mine.endpoint_id] and theirs.list() == [other.endpoint_id]


class Heard:
    """Whoever listens to the branch; ends it after a few signs."""

    def __init__(self, feed: Feed, signs: list[Callable[[], object]]) -> None:
        self.feed, self.signs = feed, signs
        self.lists: list[Mapping[str, Mark]] = []

    def listed(self, feed: str, found: Mapping[str, Mark]) -> None:
        """Remember."""
        self.lists.append(dict(found))

    def changed(self, feed: str, key: str, mark: Mark | None) -> None:
        """Nothing: a branch is told as a whole."""

    def sign(self, feed: str) -> None:
        """Do the next thing, or end."""
        if self.signs:
            self.signs.pop(0)()
        else:
            self.feed.close()


def test_who_pushes_is_noticed(where: Place, remote: Remote, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FOLLOW_SECONDS", 0.0)
    made, wanted = GitOpsDriver(where), workload()
    made.apply(wanted)
    feed = next(one for one in made.feeds() if one.name == "git")
    away = remote.path.with_name("away.git")
    outage = [lambda: remote.path.rename(away), lambda: away.rename(remote.path)]
    heard = Heard(feed, [lambda: None, lambda: edited(remote, wanted), *outage])
    feed.follow(heard)
    first, second = heard.lists[0], heard.lists[1]
    assert [mark.endpoint for mark in first.values()] == [wanted.endpoint_id]
    assert first.keys() == second.keys() and first != second, "the edit is news, the outage is none"


# --- What applies it

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ARGO = {"sync": {"status": "OutOfSync", "revision": COMMIT}, "health": {"status": "Progressing"}}

FAILED = {"phase": "Failed", "message": "one\ntwo"}
BROKEN = {"type": "ComparisonError", "message": "no repo"}
ODD: Any = {"sync": 7, "health": [], "conditions": "x", "operationState": None}
UNREADY = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "bad yaml"}


@pytest.mark.parametrize(
    ("name", "found", "words", "failed"),
    [
        ("argocd", None, "has no object argocd/fleet", True),
        ("argocd", {}, "has not looked at it yet", False),
        ("argocd", {"status": ARGO}, "is OutOfSync, Progressing", False),
        ("argocd", {"status": ARGO | {"sync": {"status": "Synced", "revision": "f" * 40}}}, "is Synced at ffff", False),
        ("argocd", {"status": ARGO | {"operationState": {"phase": "Running"}}}, "applies it now", False),
        ("argocd", {"status": ARGO | {"operationState": FAILED}}, "failed to apply it: one two", True),
        ("argocd", {"status": ARGO | {"conditions": [BROKEN]}}, "cannot compare it: no repo", True),
        ("argocd", {"status": ODD}, "has not looked", False),
        ("flux", {}, "is at no commit", False),
        ("flux", {"status": {"lastAppliedRevision": f"main@sha1:{COMMIT}"}}, "has applied it", False),
        ("flux", {"status": {"lastAttemptedRevision": f"main@sha1:{COMMIT}"}}, "applies it now", False),
        ("flux", {"spec": {"suspend": True}}, "is suspended", True),
        ("flux", {"status": {"conditions": [UNREADY]}}, "failed to apply it: bad yaml", True),
    ],
)  # fmt: skip
def test_what_the_applier_says(name: str, found: Any, words: str, failed: bool) -> None:
    told = applier.told(name, "argocd/fleet", found, COMMIT)
    assert words in told.words and told.failed is failed


@pytest.mark.parametrize(("name", "kind"), [("argocd", "applications"), ("flux", "kustomizations")])
def test_the_applier_is_named_where_something_waits(
    where: Place, remote: Remote, double: Double, name: str, kind: str
) -> None:
    made = GitOpsDriver(replace(where, settings={"applier": name, "applier_object": "gitops/fleet"}))
    wanted = workload()
    made.apply(wanted)
    (replica,) = made.observe(wanted.endpoint_id).replicas
    assert (replica.reason_code, replica.turn) == ("git_applier_failed", "platform")
    double.objects[kind, "gitops", "fleet"] = {"metadata": {}, "status": {}}
    (replica,) = made.observe(wanted.endpoint_id).replicas
    assert (replica.reason_code, replica.turn) == ("git_waits_applier", "nobody")
    assert applier.NAMES[name] in replica.sentence
