"""Whose is it? A guess from what object and namespace say, in the order of how much it is worth. Pure functions.

Everything here was written by whoever may write the object: it is shown as a guess with its source, and gives nobody a
right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from endpoints.rogue.reading import Space, Thing

_ON_SPACE = ("openshift.io/requester", "opendatahub.io/username", "owner", "contact", "field.cattle.io/creatorId")
_ON_OBJECT = (
    "opendatahub.io/username", "openshift.io/requester", "owner", "contact", "app.kubernetes.io/created-by",
    "creator", "created-by", "maintainer", "team",
)  # fmt: skip
_PARTS = ("/owner", "/contact", "/created-by", "/requester")
# What writes objects for people, and is nobody.
_CONTROLLERS = ("kube-controller-manager", "kubelet", "manager", "kube-scheduler", "gatehouse")


@dataclass(frozen=True)
class Guess:
    """A name and where it stands."""

    name: str
    source: str


def guesses(thing: Thing, space: Space | None) -> Iterator[Guess]:
    """Yield names of people or teams, the best first."""
    yield from _of(thing.annotations, _ON_OBJECT, "annotation", thing.ref.kind)
    yield from _of(thing.labels, _ON_OBJECT, "label", thing.ref.kind)
    if space is not None:
        yield from _of(space.annotations, _ON_SPACE, "annotation", "namespace")
        yield from _of(space.labels, _ON_SPACE, "label", "namespace")


def tool(thing: Thing) -> str:
    """Return what wrote the object last that is no controller of the cluster itself: kubectl, helm, argocd."""
    written = [one for one in thing.managers if not one.startswith(_CONTROLLERS)]
    return written[-1] if written else ""


def _of(words: Mapping[str, str], keys: tuple[str, ...], what: str, where: str) -> Iterator[Guess]:
    exact = [key for key in keys if words.get(key)]
    more = [key for key in words if key not in keys and key.endswith(_PARTS) and words[key]]
    for key in (*exact, *more):
        yield Guess(words[key][:200], f"{what} {key} of the {where}"[:120])
