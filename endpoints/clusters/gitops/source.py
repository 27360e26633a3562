"""What stands in the repository of each endpoint, and whether somebody changed it by hand.

The space's directory is sealed for the files in it alone: folders of endpoints lie in it, and lists of folders may be
changed by anybody, since the portal only adds and takes away its own lines there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.explaining.reading import at, text
from endpoints.clusters.gitops import layout, sealing
from endpoints.clusters.gitops.layout import LIST, SEAL
from endpoints.clusters.gitops.repository import PROPOSALS, Repository
from endpoints.clusters.gitops.sealing import Sealed
from endpoints.clusters.gitops.snapshot import Entry, Snapshot
from endpoints.clusters.gitops.words import error
from endpoints.clusters.kubernetes import differing, owned
from endpoints.clusters.manifest_text import manifest_of
from portal import crypto

FETCH_SECONDS = 10.0  # between two looks at the remote


@dataclass(frozen=True)
class Stand:
    """What stands in Git for one endpoint. `wants`: replicas by revision, with what is only proposed on the branch
    `proposed`; `hold` says why the portal writes nothing there now.
    """

    folder: str = ""
    commit: str = ""
    sealed: Sealed | None = None
    wants: Mapping[int, int] = field(default_factory=dict)
    proposed: str = ""
    hold: ClusterError | None = None
    problem: ClusterError | None = None


class Source:
    """The repository of one place, as endpoints see it."""

    def __init__(self, place: Place) -> None:
        """Nothing is called before the first method is."""
        self.place, self.root = place, layout.root(place)
        self.repository = Repository(place)
        self.proposes = self.repository.proposes

    def stand(self, endpoint_id: str, *, ask: bool = True) -> Stand:
        """Return what stands in Git for an endpoint; a remote that does not answer is told in `problem`. With `ask`
        not, as it was seen last.
        """
        problem = self._refreshed() if ask else None
        tips = self.repository.tips()
        tip = tips.get(self.repository.branch, "")
        if not tip:
            return Stand(problem=problem)
        seen = self.repository.snapshot(tip, self.root)
        return replace(self._stand(owned.stem(endpoint_id), seen, self.proposals(tips)), problem=problem)

    def stands(self) -> dict[str, Stand]:
        """Return what stands in Git for each endpoint of this portal, by its id."""
        problem = self._refreshed()
        tips = self.repository.tips()
        tip = tips.get(self.repository.branch, "")
        if not tip:
            if problem is not None:
                raise problem
            return {}
        seen = self.repository.snapshot(tip, self.root)
        proposals = self.proposals(tips)
        seals = [f"{one}/{SEAL}" for places in seen.stems.values() for one in places]
        self.repository.blobs([seen.entries[one].blob for one in seals if one in seen.entries])  # all by one call
        found = {stem: self._stand(stem, seen, proposals) for stem in {*seen.stems, *(_stem(one) for one in proposals)}}
        ours = owned.installation(self.place.settings)
        return {
            one.sealed.endpoint: one
            for one in found.values()
            if one.sealed is not None and one.sealed.endpoint and one.sealed.installation == ours
        }

    def seen(self) -> Snapshot | None:
        """Return what stands on the followed branch, as it was seen last; None when it was never seen."""
        tip = self.repository.tip()
        return self.repository.snapshot(tip, self.root) if tip else None

    def _refreshed(self) -> ClusterError | None:
        try:
            self.repository.refresh(FETCH_SECONDS)
        except ClusterError as problem:
            return problem
        return None

    def proposals(self, tips: Mapping[str, str]) -> dict[str, str]:
        """Return the branches of proposals with their commits."""
        if not self.proposes:
            return {}
        return {name: commit for name, commit in tips.items() if name.startswith(f"{PROPOSALS}/")}

    def _stand(self, stem: str, seen: Snapshot, proposals: Mapping[str, str]) -> Stand:
        folder, entries, sealed = self._place_of(stem, seen)
        stand = Stand(folder, seen.commit, sealed, dict(sealed.wants) if sealed else {})
        if folder and (hold := self.hold(seen, folder, entries, sealed)) is not None:
            wants = {number: count for number, count in stand.wants.items() if self._runs(entries, number)}
            stand = replace(stand, hold=hold, wants=wants)
        if not folder and (by := self.taken_away(seen, f":(glob){self.root}/*/*/*-{stem}/**")) is not None:
            told = error("git_taken_away", who=who(by), file="the directory of this endpoint", commit=by[0][:12])
            stand = replace(stand, hold=told)
        for branch, sealed in self.proposed(stem, seen, proposals):
            wants = dict(sealed.wants) if sealed else {}
            stand = replace(
                stand, folder=self._folder_of(branch), sealed=stand.sealed or sealed, wants=wants, proposed=branch
            )
        return stand

    def _runs(self, entries: Mapping[str, Entry], revision: int) -> bool:
        """Whether an edited directory still wants engines of a revision: its seal does not know of what came later."""
        there = entries.get(f"deployment-r{revision}.yaml")
        content = self.repository.blobs([there.blob]).get(there.blob) if there is not None else None
        return content is not None and at(manifest_of(content), "spec", "replicas") != 0

    def _place_of(self, stem: str, seen: Snapshot) -> tuple[str, dict[str, Entry], Sealed | None]:
        """Return the directory of an endpoint with what stands in it: of several called so, the one that the portal
        sealed where it lies.
        """
        depth = self.root.count("/") + 3
        found = []
        for folder in sorted(seen.stems.get(stem, ()), key=lambda path: (path.count("/") != depth, path)):
            entries = seen.below(folder)
            sealed = self.sealed(folder, entries)
            if sealed is not None:
                return folder, entries, sealed
            found.append((folder, entries, sealed))
        return found[0] if found else ("", {}, None)

    def proposed(self, stem: str, seen: Snapshot, proposals: Mapping[str, str]) -> Iterator[tuple[str, Sealed | None]]:
        """Yield the branches that propose something for an endpoint, the one that counts last, each with what it would
        leave in its directory (None: nothing). What is merged, overtaken or not the portal's is none.
        """
        for branch, commit in sorted(proposals.items(), key=_rank):
            if _stem(branch) != stem:
                continue
            folder = self._folder_of(branch)
            theirs = self.repository.snapshot(commit, folder).below(folder)
            sealed = self.sealed(folder, theirs)
            if sealed is None and (theirs or not branch.endswith("-delete")):
                continue
            if theirs != seen.below(folder) and self.stands_still(seen.commit, commit, folder):
                yield branch, sealed

    def stands_still(self, target: str, commit: str, folder: str) -> bool:
        """Whether a proposal could still be merged as it is: nothing of the endpoint was changed on the followed branch
        since they parted, and there is no conflict. Where the copy does not reach so far back it is made anew.
        """
        base = self.repository.base(target, commit)
        if not base or base == commit:
            return False
        changed = self.repository.last(target, folder, since=base) if base != target else None
        return changed is None and self.repository.merges(target, commit)

    def hold(
        self, seen: Snapshot, folder: str, entries: Mapping[str, Entry], sealed: Sealed | None
    ) -> ClusterError | None:
        names = sealing.edited(entries, sealed)
        where = folder
        if not names:
            where = folder.rpartition("/")[0]
            names = self._edited_space(seen, where)
        if not names:
            return None
        file = f"{where}/{names[0]}"
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        by = self.repository.last(seen.commit, where, but=self.repository.address)
        return error(
            "git_edited", who=who(by), file=f"{file}{more}", detail=self._how(seen, file, names[0], sealed, by)
        )

    def _how(self, seen: Snapshot, file: str, name: str, sealed: Sealed | None, by: tuple[str, str, str] | None) -> str:
        """Say what was done to a file: the first line that differs, where what stood there before is at hand."""
        there = seen.entries.get(file)
        before = sealed.files.get(name, "") if sealed else ""
        commit = f"commit {by[0][:12]} " if by else "it "
        if there is None:
            return f"{commit}took the file away"
        if not before:
            return f"{commit}added a file that is not the portal's"
        contents = self.repository.blobs([there.blob, before])
        for wanted, found in _lines(contents.get(before), contents.get(there.blob)):
            return f"{commit}has “{found}” where “{wanted}” was approved"
        return f"{commit}left it otherwise than it was written"

    def taken_away(self, seen: Snapshot, path: str) -> tuple[str, str, str] | None:
        """Return who took away by hand what stood at `path`; None when it never stood there, or the portal did it.
        Where people merge what the portal proposes, every commit is theirs, and they see what comes back.
        """
        if self.proposes:
            return None
        by = self.repository.last(seen.commit, path)
        return by if by is not None and by[2] != self.repository.address else None

    def _edited_space(self, seen: Snapshot, folder: str) -> list[str]:
        entries = self.space_entries(seen, folder)
        if not entries:
            return []
        return sealing.edited(entries, self.sealed(folder, entries))

    def space_entries(self, seen: Snapshot, folder: str) -> dict[str, Entry]:
        """Return the files that stand in a shared directory itself, without its list."""
        names = [name for name in seen.within(folder) if name != LIST]
        return {name: seen.entries[f"{folder}/{name}"] for name in names}

    def sealed(self, folder: str, entries: Mapping[str, Entry]) -> Sealed | None:
        """Return what the portal wrote into a directory; None where that is not known."""
        there = entries.get(SEAL)
        content = self.repository.blobs([there.blob]).get(there.blob) if there is not None else None
        return sealing.opened(content, folder, self.keys)

    @property
    def keys(self) -> list[str]:
        return crypto.derived(f"seal of what is written to Git for {self.place.slug}")

    def _folder_of(self, branch: str) -> str:
        """Return the directory that a branch is about."""
        return f"{self.root}/{branch.removeprefix(PROPOSALS + '/').rpartition('-')[0]}"


def _stem(branch: str) -> str:
    """Return which endpoint a branch is about: gatehouse/project/dev/chat-ep-0123456789abc-r1."""
    return "-".join(branch.rpartition("-")[0].rsplit("-", 2)[1:])


def _rank(proposal: tuple[str, str]) -> tuple[int, int]:
    """The later of two proposals comes last: revisions in their order, then suspension, then deletion."""
    word = proposal[0].rpartition("-")[2]
    return {"suspend": 1, "delete": 2}.get(word, 0), int(word[1:]) if word[1:].isdigit() else 0


def who(by: tuple[str, str, str] | None) -> str:
    """Return how whoever made a commit is called."""
    return by[1][:60] or by[2][:60] if by else "Somebody"


def _lines(before: bytes | None, after: bytes | None) -> Sequence[tuple[str, str]]:
    """Return the lines that differ, as pairs of what stood there and what does."""
    if before is None or after is None:
        return []
    old, new = (one.decode("utf-8", "replace").split("\n") for one in (before, after))
    pairs = zip_longest(old, new)
    place = next((index for index, (one, other) in enumerate(pairs) if one != other), None)
    return [] if place is None else [(_line(old, place), _line(new, place))]


def _line(lines: Sequence[str], place: int) -> str:
    """Return a line of a file as it may be told: the value of what a line beside it calls a secret is none."""
    if place >= len(lines):
        return "nothing"
    near = " ".join(lines[max(0, place - 1) : place + 2])
    words = lines[place].strip()
    if (match := re.match(r"(?:- )?value: *", words)) and differing.PRIVATE.search(near):
        words = f"{match[0].strip()} {differing.HIDDEN}"
    return text(words)[:80]
