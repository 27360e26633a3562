"""Which bundle counts: the newest publication, or the baseline that ships while nothing was published."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

from approvals.models import Bundle as Stored
from approvals.models import Publication
from approvals.policies.bundle import Bundle, files_of, read

BASELINE = Path(__file__).parent / "baseline"
SHIPPED = "baseline"  # its version, as plans name it
KEPT = 8  # parsed bundles per process: what counts, and what previews try
_parsed: OrderedDict[str, Bundle] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True)
class Active:
    """A bundle with the version under which it was published; `number` 0 = the one that ships."""

    bundle: Bundle
    version: str
    number: int = 0

    def json(self) -> dict[str, str]:
        """Return how a plan names it."""
        return {"name": self.bundle.name, "version": self.version, "digest": self.bundle.digest}


@lru_cache(maxsize=1)
def baseline() -> Bundle:
    """Return the bundle that ships with the portal."""
    return read(files_of(BASELINE))


def active() -> Active:
    """Return what counts now (one query; the files are read once per process and digest)."""
    newest = Publication.objects.values_list("number", "version", "bundle__digest").first()
    if newest is None:
        return Active(baseline(), SHIPPED)
    number, version, digest = newest
    return Active(by_digest(digest), version, number)


def by_digest(digest: str) -> Bundle:
    """Return a bundle that was published once, or the baseline; parsed once per process."""
    if digest == baseline().digest:
        return baseline()
    with _lock:
        if digest in _parsed:
            _parsed.move_to_end(digest)
            return _parsed[digest]
    bundle = read(Stored.objects.get(digest=digest).files, checked=False)
    with _lock:
        _parsed[digest] = bundle
        while len(_parsed) > KEPT:
            _parsed.popitem(last=False)
    return bundle
