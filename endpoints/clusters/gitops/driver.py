"""The `gitops` cluster driver: commits what was approved, and sees by the cluster what became of it.

To the cluster itself goes only what does not belong into a repository: the key of an endpoint's engines, what was
approved for the admission policy, and the namespace that both stand in. Everything else is written by whoever applies
the repository. What somebody changed in Git by hand is never written over unless a person says so.
"""

import builtins
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from endpoints.clusters import ClusterError, Commit, Difference, Hold, Observation, Place, Replica, Workload
from endpoints.clusters.explaining.reading import at, number
from endpoints.clusters.feeds import Feed
from endpoints.clusters.gitops import applier, comparing, words
from endpoints.clusters.gitops.following import BranchFeed
from endpoints.clusters.gitops.source import Stand
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import approving, kinds, manifests, owned, state, whole
from endpoints.clusters.kubernetes.driver import KubernetesDriver, key_in_use
from endpoints.clusters.kubernetes.kinds import kind_of
from endpoints.clusters.kubernetes.state import Found

COMPARE_SECONDS = 5.0  # how old what is compared with may be
APPLIER_SECONDS = 5.0  # between two looks at the object of Argo CD or Flux


class GitOpsDriver(KubernetesDriver):
    """Implements `ClusterDriver` with commits. Instances hold no state and may be many."""

    def __init__(self, place: Place) -> None:
        """Nothing is called before the first method is."""
        super().__init__(place)
        self.source = Writer(place)

    # --- Looking

    def observe(self, endpoint_id: str) -> Observation:
        """Return the pods of an endpoint as replicas, and as starting those that stand in Git and not yet in the
        cluster, with where they wait. Raises ClusterError for the cluster; what is wrong with the remote is told where
        something waits for it.
        """
        found = self._found(endpoint_id)
        if not found.healthy:
            found = self._with_details(endpoint_id, found)
        seen = state.observation(found, self._keys(endpoint_id), self._client.now())
        if seen.scaled and found.healthy:
            scalers = self._client.kept(f"scaling {endpoint_id}", 300.0, self._scalers(endpoint_id))
            seen = state.scaling(seen, scalers)
        try:
            stand = self.source.stand(endpoint_id)
        except ClusterError as problem:  # a copy that is broken says nothing about what runs
            stand = Stand(problem=problem)
        return self._joined(self._only_own(seen, found), stand)

    def observe_all(self) -> Mapping[str, Observation]:
        """Return what `observe` returns, without reasons, of every endpoint that stands in Git or in the cluster, by
        its id: a few lists for all. Raises ClusterError.
        """
        deployments, pods = self._listed(kinds.DEPLOYMENT, whole.written), self._listed(kinds.POD, whole.pod)
        now, found = self._client.now(), whole.found_of(deployments, pods)
        stands = self._stands()
        return {
            one: self._joined(
                self._only_own(
                    state.observation(found.get(one, Found()), self._keys(one), now), found.get(one, Found())
                ),
                stands.get(one, Stand()),
            )
            for one in {*found, *stands}
        }

    def list(self) -> builtins.list[str]:
        """Return the endpoints that have something here or in Git, wanted or not. Raises ClusterError."""
        return sorted({*super().list(), *self._stands()})

    def _stands(self) -> dict[str, Stand]:
        """Return what stands in Git by the id of its endpoint, nothing where no copy can be had."""
        try:
            return self.source.stands()
        except ClusterError:
            return {}

    def feeds(self) -> Sequence[Feed]:
        """Return what has to be followed to learn of every change of an engine, and of what stands in Git. Raises
        ClusterError.
        """
        return [*super().feeds(), BranchFeed(self._place)]

    def compare(self, workload: Workload) -> Sequence[Difference]:
        """Return in what the repository differs from what `apply` would commit; nothing is written. Raises
        ClusterError.
        """
        self.source.repository.refresh(COMPARE_SECONDS)
        wanted = self._rendered(workload, self._found(workload.endpoint_id))
        return comparing.differences(self.source, self._place, workload, wanted)

    def compare_all(self, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, Sequence[Difference]]]:
        """Yield what `compare` returns of each workload, by the id of its endpoint; nothing where it cannot be written
        at all, which its page says. Raises ClusterError.
        """
        for endpoint_id, workload in workloads.items():
            try:
                found = self.compare(workload)
            except ClusterError as problem:
                if problem.retry:
                    raise
                found = ()
            yield endpoint_id, found

    def committed(self, endpoint_id: str) -> Commit | None:
        """Return where an endpoint stood in Git when this machine looked last, None when it saw none. Asks nobody."""
        stand = self.source.stand(endpoint_id, ask=False)
        if not stand.folder:
            return None
        repository = self.source.repository
        commit = repository.tip(stand.proposed) if stand.proposed else stand.commit
        return Commit(self._place.repository, repository.branch, commit, stand.folder, stand.proposed)

    def _only_own(self, seen: Observation, found: Found) -> Observation:
        """Return `seen` where the portal has to write again only what is its own to write."""
        seen = replace(seen, drifted=state.keyless(found.pods), changed=False, lowered={})
        return self._noted(seen, found.deployments)

    def _joined(self, seen: Observation, stand: Stand) -> Observation:
        """Return what the cluster has and what Git wants of it in one."""
        wants = {one: 1 if one in seen.scaled and count else count for one, count in stand.wants.items()}
        if stand.commit or stand.proposed:
            seen = replace(seen, replicas=tuple(self._sorted_out(seen.replicas, wants, seen.scaled)))
        there = Counter(one.revision for one in seen.replicas if one.state != "stopping")
        replicas = [*seen.replicas]
        for revision, count in sorted(wants.items()):
            missing = max(0, count - there[revision])
            replicas += [self._awaited(revision, stand)] * missing
        told = self._waits(stand) if stand.hold and stand.proposed else stand.hold  # the way out waits already
        hold = Hold(told.code, told.sentence, told.turn, told.next) if told else None
        numbered = tuple(replace(one, index=index) for index, one in enumerate(replicas))
        return replace(seen, replicas=numbered, hold=hold)

    def _sorted_out(
        self, replicas: Sequence[Replica], wants: Mapping[int, int], scaled: Mapping[int, int]
    ) -> Iterator[Replica]:
        """Yield replicas; those that Git does not want any more end without another commit."""
        count: Counter[int] = Counter()
        for one in replicas:
            count[one.revision] += 1
            surplus = one.revision not in scaled and count[one.revision] > wants.get(one.revision, 0)
            yield replace(one, ends_itself=True) if surplus and one.revision else one

    def _awaited(self, revision: int, stand: Stand) -> Replica:
        """Return the replica that stands in Git and not in the cluster."""
        told = self._waits(stand)
        return Replica(
            0,
            "starting",
            revision=revision,
            reason_code=told.code,
            sentence=told.sentence,
            turn=told.turn,
            next=told.next,
        )

    def _waits(self, stand: Stand) -> ClusterError:
        """Return what something that stands in Git waits for."""
        if stand.proposed:
            return words.error("git_waits_merge", branch=stand.proposed, target=self.source.repository.branch)
        branch, short = self.source.repository.branch, stand.commit[:12]
        told = self._applier(stand.commit)
        also = f"{branch}, whose history others rewrote" if self.source.repository.rewritten else branch
        code = "git_applier_failed" if told.failed else "git_waits_applier"
        return words.error(code, commit=short, branch=also, applier=told.words)

    def _applier(self, commit: str) -> applier.Told:
        """Return what whoever applies the repository says."""
        name = str(self._place.settings.get("applier") or "")
        where = str(self._place.settings.get("applier_object") or "")
        if name not in applier.KINDS or "/" not in where:
            return applier.Told("whoever applies the repository has not come to it yet")
        namespace, _, own = where.partition("/")
        try:
            found = self._client.kept(
                f"applier {where}", APPLIER_SECONDS, lambda: self._client.get(applier.KINDS[name], own, namespace)
            )
        except ClusterError as problem:
            return applier.Told(f"what applies it ({where}) cannot be read: {problem.sentence[:160]}", failed=True)
        return applier.told(name, where, found, commit)

    # --- Changing

    def apply(self, workload: Workload) -> None:
        """Commit what is missing or differs, end revisions that are not to be kept, and start anew what the cluster has
        tried often enough; of the cluster itself write namespace, key and approval.

        While engines of another revision are ending nothing of this one is committed. Raises ClusterError:
        `git_edited` and `git_taken_away` for what somebody changed in Git, unless a person wants it rewritten; what the
        remote or the API refuses.
        """
        if workload.adopted is not None:
            raise words.error("git_adopts_nothing")
        found = self._found(workload.endpoint_id)
        wanted = self._rendered(workload, found)
        self._approve_no_others(workload, found.deployments)
        self._prepare(workload, wanted, known=bool(found.deployments))
        kept = {workload.revision, *workload.keep}
        living = state.living(found.pods, self._client.now())
        ending = any(state.revision(pod) not in kept for pod in living)
        self.source.write(workload, wanted, start=not ending, over=workload.rewrite)
        if not ending:
            self._start_anew(workload, found)

    def _rendered(self, workload: Workload, found: Found) -> builtins.list[dict[str, Any]]:
        key = key_in_use(found, workload, self._keys(workload.endpoint_id))
        return manifests.objects(self._place, workload, key)

    def _prepare(self, workload: Workload, wanted: Sequence[Mapping[str, Any]], *, known: bool) -> None:
        """Write what has to be in the cluster before it runs and must not stand in Git."""
        space = next(one for one in wanted if kind_of(one) == kinds.NAMESPACE)
        live = self._client.get(kinds.NAMESPACE, space["metadata"]["name"])
        if live is None:
            self._client.ask("POST", kinds.NAMESPACE.path(), {"fieldManager": owned.MANAGER}, space)
        else:
            owned.require_ours(live, space)
        if approving.wanted(self._place):
            runs = next(one for one in wanted if one["kind"] in approving.RUN)
            approving.approve(self._client, self._place, workload, runs)
        secret = next(one for one in wanted if kind_of(one) == kinds.SECRET)
        self._client.apply(secret, force=known)

    def suspend(self, endpoint_id: str) -> bool:
        """Let Git want no replica and leave everything else there; True when no pod is left and none can come. Raises
        ClusterError, also while whoever applies the repository has not come to it.
        """
        written = self.source.sleep(endpoint_id)
        found = self._found(endpoint_id)
        awake = [one for one in found.deployments if not state.asleep(one) and not state.ending(one)]
        if awake or state.living(found.pods, self._client.now()):
            wanting = any(number(at(one, "spec", "replicas")) != 0 for one in awake)
            self._not_applied(endpoint_id, fresh=bool(written), waits=wanting)
            return False
        # What was seen last may be old, and after this nobody looks again.
        written = self.source.sleep(endpoint_id, sure=True) or written
        if written or self.source.stand(endpoint_id, ask=False).proposed:
            self._not_applied(endpoint_id, fresh=bool(written), waits=True)
            return False
        if approving.wanted(self._place):
            approving.rest(self._client, self._place, endpoint_id)
        return True

    def remove(self, endpoint_id: str) -> bool:
        """Take the directory away, and the key; True when nothing is left in Git and in the cluster. Raises
        ClusterError, also while whoever applies the repository has not come to it.
        """
        stand = self.source.stand(endpoint_id)
        written = self.source.remove(endpoint_id)
        found, attached = self._found(endpoint_id), self._attachments(endpoint_id)
        objects, running = [*found.deployments, *attached], state.living(found.pods, self._client.now())
        spaces = {str(at(one, "metadata", "namespace")) for one in (*objects, *running)}
        if stand.sealed is not None and stand.sealed.project:
            spaces.add(owned.namespace(self._place, stand.sealed.project, stand.sealed.environment))
        for namespace in sorted(spaces):
            self._client.found("DELETE", kinds.SECRET.path(namespace, owned.key_name(endpoint_id)))
        if not objects and not running:
            written = self.source.remove(endpoint_id, sure=True) or written  # as in `suspend`
        if objects or running or self.source.stand(endpoint_id, ask=False).folder:
            waits = any(not state.ending(one) for one in objects) or not (objects or running)
            self._not_applied(endpoint_id, fresh=bool(written), waits=waits)
            return False
        return self._forgotten(endpoint_id)

    def _not_applied(self, endpoint_id: str, *, fresh: bool, waits: bool) -> None:
        """Raise ClusterError that says what a change waits for, unless it was committed this moment or goes on."""
        if waits and not fresh:
            raise self._waits(self.source.stand(endpoint_id))


def driver(place: Place) -> GitOpsDriver:
    """Return the driver of `place`."""
    return GitOpsDriver(place)
