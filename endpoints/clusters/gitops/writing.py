"""Changes of what stands in Git of an endpoint, as commits: what a workload says, sleep, and the end.

Each change is made from what stands there, and made again when somebody else pushed meanwhile. What somebody changed by
hand is left alone.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import partial

from endpoints.clusters import Workload
from endpoints.clusters.gitops import layout, sealing
from endpoints.clusters.gitops.layout import LIST, SEAL, Manifest
from endpoints.clusters.gitops.repository import Change, Files, Repository
from endpoints.clusters.gitops.sealing import Sealed
from endpoints.clusters.gitops.snapshot import Entry, Snapshot, blob_id
from endpoints.clusters.gitops.source import Source, Stand, who
from endpoints.clusters.gitops.words import error
from endpoints.clusters.kubernetes import owned

REWRITTEN = "Others rewrote the history of {branch}; what was approved is committed anew on its new tip."
AUTOSCALERS = ("horizontalpodautoscaler", "scaledobject")


class Writer(Source):
    """The repository of one place, to be written."""

    def write(
        self, workload: Workload, manifests: Sequence[Manifest], *, start: bool = True, over: bool = False
    ) -> str:
        """Bring an endpoint's directory to what `manifests` say and return the commit, "" when it is so already.

        Files of revisions that are not kept go; with `start` not, nothing else is changed. `over`: what somebody
        changed by hand is written over. Raises ClusterError, `git_edited` for what was changed by hand.
        """
        folder = layout.folder(self.place, workload)
        word = f"r{workload.revision}"
        branch = layout.proposal(self.place, folder, word) if self.proposes else self.repository.branch
        if over:
            self.repository.refresh(0.0, wait=True)  # it is about what somebody saw there
        words = {f"r{revision}" for revision in (workload.revision, *workload.keep)}
        self._take_back(workload.endpoint_id, but=words)
        make = partial(self._written, workload, manifests, folder, branch, start, over)
        return self.repository.commit(branch, make, self.root)

    def _written(
        self, workload: Workload, manifests: Sequence[Manifest], folder: str, branch: str, start: bool, over: bool,
        seen: Snapshot, tip: str,
    ) -> Change | None:  # fmt: skip
        entries = seen.below(folder)
        sealed = self.sealed(folder, entries) if entries else None
        self._allow(seen, folder, entries, sealed, over)
        files = self._endpoint(workload, manifests, folder, seen, sealed, start)
        if start:
            files |= self._space(workload, manifests, seen, folder, over)
            files |= self._parents(seen, folder)
        changed = _changed(seen, files)
        if not changed or (branch != self.repository.branch and self._is_proposed(seen, tip, folder, changed)):
            return None
        if not entries and not over:
            self._not_taken_away(seen, folder)
        return Change(changed, _message(workload, sealed, self.repository, start=start))

    def _endpoint(
        self, workload: Workload, manifests: Sequence[Manifest], folder: str, seen: Snapshot, sealed: Sealed | None,
        start: bool,
    ) -> dict[str, bytes | None]:  # fmt: skip
        """Return the files of an endpoint's directory that are to be, and None for each that is not."""
        entries, kept = seen.below(folder), {workload.revision, *workload.keep}
        own = layout.own(manifests, workload.revision) if start else {}
        if not start and not entries:
            return {}
        drop = kept - {workload.revision} if start else kept
        staying, again = self._staying(seen, folder, sealed, drop)
        own |= again
        names = [*own, *(name for name in staying if name not in again)]
        own[LIST] = layout.listing(names)
        wants = {number: count for number, count in (sealed.wants if sealed else {}).items() if number in kept}
        approvals = {number: one for number, one in (sealed.approvals if sealed else {}).items() if number in kept}
        if start:
            wants[workload.revision] = workload.replicas
            approvals[workload.revision] = (workload.approval, workload.authorization_digest)
        made = Sealed(
            folder, owned.installation(self.place.settings),
            {**staying, **{name: blob_id(one) for name, one in own.items()}},
            workload.endpoint_id, workload.project, workload.environment_name, wants, approvals,
        )  # fmt: skip
        own[SEAL] = self._seal(made, sealed, entries)
        files: dict[str, bytes | None] = {f"{folder}/{name}": content for name, content in own.items()}
        gone = [name for name in entries if name not in own and name not in staying]
        return files | {f"{folder}/{name}": None for name in gone}

    def _staying(
        self, seen: Snapshot, folder: str, sealed: Sealed | None, revisions: Set[int]
    ) -> tuple[dict[str, str], dict[str, bytes]]:
        """Return the files of revisions that stay, as git's ids, and the content of those that somebody changed: they
        are written again as they were. Raises ClusterError where nobody knows any more what that was.
        """
        entries, known = seen.below(folder), sealed.files if sealed else {}
        files = {name: blob for name, blob in known.items() if layout.revision_of(name) in revisions}
        edited = {name: blob for name, blob in files.items() if entries.get(name) != Entry("100644", blob)}
        contents = self.repository.blobs([*edited.values()])
        unsealed = sealed is None and any(layout.revision_of(name) in revisions for name in entries)
        hold = self.hold(seen, folder, entries, sealed) if unsealed or len(contents) < len({*edited.values()}) else None
        if hold is not None:
            raise hold
        return files, {name: contents[blob] for name, blob in edited.items() if blob in contents}

    def _seal(self, made: Sealed, before: Sealed | None, entries: Mapping[str, Entry]) -> bytes:
        """Return the sealed file; one that says the same under an older key stays."""
        if before == made:
            content = self.repository.blobs([entries[SEAL].blob]).get(entries[SEAL].blob)
            if content:
                return content
        return sealing.written(made, self.keys[0])

    def _space(
        self, workload: Workload, manifests: Sequence[Manifest], seen: Snapshot, folder: str, over: bool
    ) -> dict[str, bytes | None]:
        """Return the files that the endpoints of a project and environment share; those of others stay."""
        where = folder.rpartition("/")[0]
        entries = self.space_entries(seen, where)
        sealed = self.sealed(where, entries) if entries else None
        files = layout.shared(manifests)
        known = dict(sealed.files) if sealed else {}
        if over:  # what other endpoints of the space brought is written again as it was, too
            edited = {name: blob for name, blob in known.items() if entries.get(name) != Entry("100644", blob)}
            contents = self.repository.blobs([blob for name, blob in edited.items() if name not in files])
            files = {name: contents[blob] for name, blob in edited.items() if blob in contents} | files
            known = {name: blob for name, blob in known.items() if name in entries or name in files}
        made = Sealed(
            where, owned.installation(self.place.settings), known | {name: blob_id(one) for name, one in files.items()}
        )
        files[SEAL] = self._seal(made, sealed, entries)
        names = [name for name in made.files if name not in (SEAL, LIST)]
        path = f"{where}/{LIST}"
        content = self._content(seen, path)
        for name in (*names, folder.rpartition("/")[2]):
            content = layout.listed(content, name, path) or content
        return {**{f"{where}/{name}": one for name, one in files.items()}, path: content}

    def _parents(self, seen: Snapshot, folder: str) -> dict[str, bytes | None]:
        """Return the lists that lead to a project's environment."""
        files: dict[str, bytes | None] = {}
        parts = folder.rpartition("/")[0].split("/")
        for depth in range(len(self.root.split("/")), len(parts)):
            path = f"{'/'.join(parts[:depth])}/{LIST}"
            content = layout.listed(self._content(seen, path), parts[depth], path)
            if content is not None:
                files[path] = content
        return files

    def _content(self, seen: Snapshot, path: str) -> bytes | None:
        there = seen.entries.get(path)
        if there is None:
            return None
        content = self.repository.blobs([there.blob]).get(there.blob) if there.plain else None
        if content is None:
            raise error("git_tree_odd", file=path, detail="it is a link or another repository, not a file")
        return content

    def sleep(self, endpoint_id: str, *, sure: bool = False) -> str:
        """Let no replica of an endpoint be wanted and return the commit, "" when it is so already, or nothing is there:
        as the remote was seen last, or is now, to be `sure`. One line of each Deployment changes; what somebody else
        changed stays as it is. Raises ClusterError.
        """
        stand = self._now(endpoint_id) if sure else self.stand(endpoint_id)
        if not stand.folder:
            return ""
        taken_back = self._take_back(endpoint_id, but={"suspend"})
        branch = layout.proposal(self.place, stand.folder, "suspend") if self.proposes else self.repository.branch
        make = partial(self._sleeping, endpoint_id, stand.folder, branch)
        return self.repository.commit(branch, make, self.root) or taken_back

    def _sleeping(self, endpoint_id: str, folder: str, branch: str, seen: Snapshot, tip: str) -> Change | None:
        entries = seen.below(folder)
        sealed = self.sealed(folder, entries)
        running = {name: one.blob for name, one in entries.items() if name.startswith("deployment-r") and one.plain}
        contents = self.repository.blobs([*running.values()])
        slept = {name: layout.asleep(contents.get(blob, b"")) for name, blob in running.items()}
        gone = [name for name in entries if name.startswith(AUTOSCALERS) or slept.get(name, b"") is None]
        content = self._content(seen, f"{folder}/{LIST}")
        for name in gone:
            content = layout.unlisted(content, name, f"{folder}/{LIST}") or content
        files: dict[str, bytes | None] = {f"{folder}/{name}": one for name, one in slept.items()}
        files |= {f"{folder}/{LIST}": content, **{f"{folder}/{name}": None for name in gone}}
        if sealed is not None and not sealing.edited(entries, sealed):
            ids = {path.rpartition("/")[2]: blob_id(one) for path, one in files.items() if one is not None}
            kept = {name: blob for name, blob in sealed.files.items() if name not in gone} | ids
            made = replace(sealed, files=kept, wants=dict.fromkeys(sealed.wants, 0))
            files[f"{folder}/{SEAL}"] = self._seal(made, sealed, entries)
        changed = _changed(seen, files)
        if not changed or (branch != self.repository.branch and self._is_proposed(seen, tip, folder, changed)):
            return None
        name = folder.rpartition("/")[2]
        return Change(
            changed, f"Suspend {name}\n\nIt was suspended in the portal.\n\nGatehouse-Endpoint: {endpoint_id}"
        )

    def remove(self, endpoint_id: str, *, sure: bool = False) -> str:
        """Take an endpoint's directory away and return the commit, "" when it is not there: as the remote was seen
        last, or is now, to be `sure`. Raises ClusterError.
        """
        stand = self._now(endpoint_id) if sure else self.stand(endpoint_id)
        if not stand.folder:
            return ""
        taken_back = self._take_back(endpoint_id, but={"delete"})
        branch = layout.proposal(self.place, stand.folder, "delete") if self.proposes else self.repository.branch
        make = partial(self._removed, endpoint_id, stand.folder, branch)
        return self.repository.commit(branch, make, self.root) or taken_back

    def _now(self, endpoint_id: str) -> Stand:
        """Return what stands in Git now; raises ClusterError when the remote does not say."""
        self.repository.refresh(0.0, wait=True)
        return self.stand(endpoint_id, ask=False)

    def _take_back(self, endpoint_id: str, *, but: Set[str]) -> str:
        """Let each branch that proposes what is not wanted any more propose nothing, but those whose name ends with a
        word of `but`; return the last commit, "" for none. It is added, nothing is thrown away.
        """
        stem, seen, commit = owned.stem(endpoint_id), self.seen(), ""
        if seen is None:
            return ""
        for branch, _ in [*self.proposed(stem, seen, self.proposals(self.repository.tips()))]:
            if branch.rpartition("-")[2] not in but:
                make = partial(self._nothing, endpoint_id, branch)
                commit = self.repository.commit(branch, make, self.root) or commit
        return commit

    def _nothing(self, endpoint_id: str, branch: str, seen: Snapshot, tip: str) -> Change | None:
        if not tip or not any(self.proposed(owned.stem(endpoint_id), seen, {branch: tip})):
            return None
        what = "Propose nothing any more\n\nIn the portal something else is wanted since."
        return Change({}, f"{what}\n\nGatehouse-Endpoint: {endpoint_id}")

    def _removed(self, endpoint_id: str, folder: str, branch: str, seen: Snapshot, tip: str) -> Change | None:
        files: dict[str, bytes | None] = {f"{folder}/{name}": None for name in seen.below(folder)}
        where, _, name = folder.rpartition("/")
        content = layout.unlisted(self._content(seen, f"{where}/{LIST}"), name, f"{where}/{LIST}")
        if content is not None:
            files[f"{where}/{LIST}"] = content
        changed = _changed(seen, files)
        if not changed or (branch != self.repository.branch and self._is_proposed(seen, tip, folder, changed)):
            return None
        return Change(changed, f"Delete {name}\n\nIt was deleted in the portal.\n\nGatehouse-Endpoint: {endpoint_id}")

    def _allow(
        self, seen: Snapshot, folder: str, entries: Mapping[str, Entry], sealed: Sealed | None, over: bool
    ) -> None:
        """Raise ClusterError for what somebody changed by hand, unless that is to be written over."""
        parts = folder.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if path in seen.entries:
                raise error("git_tree_odd", file=path, detail="it is a file or a link where a directory should be")
        if entries and not over and (hold := self.hold(seen, folder, entries, sealed)) is not None:
            raise hold

    def _not_taken_away(self, seen: Snapshot, folder: str) -> None:
        """Raise ClusterError for a directory that somebody took away by hand."""
        by = self.taken_away(seen, folder)
        if by is not None:
            raise error("git_taken_away", who=who(by), file=folder, commit=by[0][:12])

    def _is_proposed(self, seen: Snapshot, tip: str, folder: str, changed: Files) -> bool:
        """Whether a branch proposes these files already, and could be merged as it is."""
        if not tip:
            return False
        theirs = self.repository.snapshot(tip, self.root)
        wanted = {path: content for path, content in changed.items() if path.startswith(f"{folder}/")}
        same = not _changed(theirs, wanted)
        return same and self.stands_still(seen.commit, tip, folder)


def _changed(seen: Snapshot, files: Files) -> dict[str, bytes | None]:
    """Return of `files` those that are not so already."""
    there = seen.entries
    return {
        path: content
        for path, content in files.items()
        if (path in there if content is None else there.get(path) != Entry("100644", blob_id(content)))
    }


def _message(workload: Workload, before: Sealed | None, repository: Repository, *, start: bool) -> str:
    """Return what a commit says: what happens, and under which approval."""
    known = before.wants.get(workload.revision) if before else None
    many = f"{workload.replicas} replica{'' if workload.replicas == 1 else 's'}"
    what = f"Run {workload.name} as revision {workload.revision}" if known is None else f"Change {workload.name}"
    what = what if start else f"End earlier revisions of {workload.name}"
    where = f"{workload.project}, {workload.environment_name}"
    lines = [
        f"{what} ({where})", "", f"{many} of revision {workload.revision}, as approved.",
        *([REWRITTEN.format(branch=repository.branch)] if repository.rewritten else []), "",
        f"Gatehouse-Endpoint: {workload.endpoint_id}", f"Gatehouse-Request: {workload.approval or 'none'}",
        f"Gatehouse-Decision: {workload.authorization_digest or 'none'}",
    ]  # fmt: skip
    return "\n".join("".join(one for one in line if one.isprintable()) for line in lines)
