"""Following the branch: who pushes is not told by anybody, so the remote is asked every few seconds, once for all
endpoints of a cluster.
"""

import threading
from hashlib import sha256

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.feeds import Mark, Told
from endpoints.clusters.gitops.source import Source

FOLLOW_SECONDS = 15.0  # between two questions


class BranchFeed:
    """Implements `Feed` with the directories of endpoints. One thread follows it."""

    name = "git"

    def __init__(self, place: Place) -> None:
        """Nothing is called before `follow` is."""
        self._source, self._ended, self._tips = Source(place), threading.Event(), dict[str, str]()

    def follow(self, told: Told) -> None:
        """Tell of every directory that changes, until `close`. A remote that is away says nothing about the engines:
        the connection test tells it, and this goes on.
        """
        while not self._ended.is_set():
            try:
                self._source.repository.refresh(FOLLOW_SECONDS / 2)
                tips = self._source.repository.tips()
                if tips != self._tips:
                    told.listed(self.name, self._marks())
                    self._tips = tips
            except ClusterError:
                self._tips = {}
            told.sign(self.name)
            self._ended.wait(FOLLOW_SECONDS)

    def close(self) -> None:
        """End `follow` soon, for good."""
        self._ended.set()

    def _marks(self) -> dict[str, Mark]:
        """Return a digest of all that stands in Git for each endpoint, by its directory."""
        found = {}
        for endpoint, stand in self._source.stands().items():
            held = stand.hold.sentence if stand.hold else ""
            words = f"{held} {dict(stand.wants)} {stand.proposed}"
            found[stand.folder] = Mark(endpoint, sha256(words.encode()).digest()[:16])
        return found
