"""Pins: what the source of a version held when it was resolved, and whether it still does.

A worker calls `work` with a version; this module alone moves the state of a pin.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.services import record, system
from catalog import collecting, drift, evidence
from catalog.drift import Drift
from catalog.hashing import File, bare
from catalog.listings import refresh
from catalog.models import Pin, PinState, Version, VersionState
from catalog.reading import read
from catalog.sources import follows, open_tree
from catalog.sources.tree import SourceDenied, SourceError, SourceMissing, SourceRefused
from portal.http import digest
from portal.states import move
from projects.notify.audience import governance_leads, platform_engineers
from projects.notify.services import tell

ACTOR = system("catalog")
KIND = "catalog.drift"
RELIED_ON = frozenset({VersionState.APPROVED, VersionState.DEPRECATED})


def work(version: Version, renew: Callable[[], None] = lambda: None) -> Pin:
    """Resolve the source of `version`, or verify what was pinned before, and return its pin in the state that it came
    to: resolved, failed, drifted.

    `renew` is called every few seconds and may raise to end the work; what is hashed by then is not lost. Raises
    SourceError when the source cannot be read now; the pin says why, and is otherwise as it was.
    """
    pin, _ = Pin.objects.get_or_create(version=version)
    try:
        if pin.digest:
            _verify(version, pin, renew)
        else:
            _resolve(version, pin, renew)
    except SourceError as error:
        waiting = Pin.objects.filter(pk=pin.pk, state__in=[PinState.PENDING, PinState.RESOLVED])
        waiting.update(sentence=str(error)[:300])
        raise
    pin.refresh_from_db()
    return pin


# --- The first time ---------------------------------------------------------------------------------------------------


def _resolve(version: Version, pin: Pin, renew: Callable[[], None]) -> None:
    try:
        tree = open_tree(version.source)
        files = read(pin, tree, renew, strict=True)
    except SourceRefused as error:
        _fail(version, pin, str(error))
        return
    _settle(version, pin, tree.revision, files)


def _settle(version: Version, pin: Pin, revision: str, files: list[File]) -> None:
    """Write down what was found, once and for all; whoever comes second changes nothing."""
    now, content = timezone.now(), digest(bare(files))
    total = sum(int(file["bytes"]) for file in files)
    with transaction.atomic():
        _again(pin)
        resolved = move(
            Pin.objects.filter(pk=pin.pk, digest=""), PinState.PENDING, PinState.RESOLVED,
            revision=revision, digest=content, files=files, total_bytes=total, sentence="", progress={},
            resolved_at=now, verified_at=now,
        )  # fmt: skip
        if resolved:
            after = {"revision": revision, "digest": content, "files": len(files), "bytes": total}
            record("catalog.pin", by=ACTOR, obj=version, after=_named(version) | after)
            _follow(version)


def _fail(version: Version, pin: Pin, why: str) -> None:
    """The source does not hold what a version needs."""
    with transaction.atomic():
        _again(pin)
        if move(Pin.objects.filter(pk=pin.pk), PinState.PENDING, PinState.FAILED, sentence=why[:300], progress={}):
            record("catalog.pin_failed", by=ACTOR, obj=version, after=_named(version), reason=why[:300])
            _follow(version)


def _again(pin: Pin) -> None:
    """A pin that failed before starts anew."""
    if pin.state == PinState.FAILED:
        move(Pin.objects.filter(pk=pin.pk), PinState.FAILED, PinState.PENDING)


# --- Every time after -------------------------------------------------------------------------------------------------


def _verify(version: Version, pin: Pin, renew: Callable[[], None]) -> None:
    """Compare the source with what was pinned: where its name leads, and every byte."""
    found = _compared(version, pin, renew)
    with transaction.atomic():
        if found:
            _drifted(version, pin, found)
        else:
            _verified(version, pin)


def _compared(version: Version, pin: Pin, renew: Callable[[], None]) -> Drift:
    """Raises SourceError when it cannot be told; what this installation may not read any more is no drift either."""
    try:
        if pin.revision and follows(version.source):
            now = open_tree(version.source)
            if now.revision != pin.revision:
                return drift.moved(pin.files, now.entries(), now.revision)
        return drift.compare(
            pin.files, read(pin, open_tree(version.source, revision=pin.revision), renew, strict=False)
        )
    except SourceDenied:
        raise
    except SourceMissing as error:
        return Drift(why=f"The source is gone: {error}")
    except SourceRefused as error:
        return Drift(why=str(error))


def _drifted(version: Version, pin: Pin, found: Drift) -> None:
    report, said, now = found.report(), found.sentence(pin.revision), timezone.now()
    known = Pin.objects.filter(pk=pin.pk)
    if move(known, PinState.RESOLVED, PinState.DRIFTED, drift=report, sentence=said, progress={}, drifted_at=now):
        _tell(version, said, once=f"drift:{version.pk}:{now.isoformat()}")
    elif known.filter(state=PinState.DRIFTED, drift=report).update(progress={}):
        return  # as it was when somebody last looked
    else:
        known.filter(state=PinState.DRIFTED).update(drift=report, sentence=said, progress={})
    _look_again(version)
    record(
        "catalog.drift", by=ACTOR, obj=version, before={"revision": pin.revision, "digest": pin.digest},
        after=_named(version) | report, reason=said,
    )  # fmt: skip
    _follow(version)


def _verified(version: Version, pin: Pin) -> None:
    now, known = timezone.now(), Pin.objects.filter(pk=pin.pk)
    fresh: dict[str, Any] = {"sentence": "", "progress": {}, "verified_at": now}
    back = move(known, PinState.DRIFTED, PinState.RESOLVED, drift={}, drifted_at=None, **fresh)
    if back:
        _look_again(version)
    else:
        known.filter(state=PinState.RESOLVED).update(**fresh)
    before = {"state": PinState.DRIFTED.value} if back else None
    record("catalog.verify", by=ACTOR, obj=version, before=before, after=_named(version) | {"digest": pin.digest})
    _follow(version)


def _look_again(version: Version) -> None:
    """Have every check of the content made again: a signature that held over what was pinned may hold no more."""
    collecting.schedule(version, [one.KIND for one in evidence.drivers(version, content=True) if one.CONTENT])


def _tell(version: Version, said: str, once: str) -> None:
    """Tell those who answer for the catalog, when people rely on the version."""
    if version.state not in RELIED_ON:
        return
    asset = version.asset
    tell(
        KIND,
        [*platform_engineers(), *governance_leads()],
        title=f"{asset.name} {version.version}: its content has drifted",
        text=f"{said} Nothing new is started with it. Have it verified again, or block the version.",
        url=reverse("catalog_detail", args=[asset.slug]),
        about=("version", str(version.pk)),
        once=once,
        data={"asset": asset.slug, "version": version.version, "sentence": said},
    )


# --- Both -------------------------------------------------------------------------------------------------------------


def _named(version: Version) -> dict[str, object]:
    return {"asset": version.asset.slug, "version": version.version, "source": version.source}


def _follow(version: Version) -> None:
    """Let the evidence and the lists say what the pin says."""
    collecting.instantly(ACTOR, version)
    refresh(version.asset)
