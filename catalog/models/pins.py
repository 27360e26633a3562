"""What the source of a version stood for when it was resolved: one commit or digest and the SHA-256 of every file."""

from typing import Any, TypeVar

from django.db import models

from catalog.models.assets import Version
from portal.states import arrows

Rows = TypeVar("Rows", bound="models.QuerySet[Any]")


class PinState(models.TextChoices):
    """How far a source is resolved."""

    PENDING = "pending"  # wanted, and not read yet; `sentence` says what stopped the last try
    RESOLVED = "resolved"
    FAILED = "failed"  # the source does not hold what a version needs; trying again changes nothing
    DRIFTED = "drifted"  # the source holds something else by now than what was pinned


class Pin(models.Model):
    """The content of a version. What is pinned never changes: `revision`, `digest` and `files` are written once."""

    ARROWS = {
        "state": arrows(
            {
                PinState.PENDING: {PinState.RESOLVED, PinState.FAILED},
                PinState.FAILED: {PinState.PENDING},
                PinState.RESOLVED: {PinState.DRIFTED},
                PinState.DRIFTED: {PinState.RESOLVED},  # the source holds again what was pinned
            }
        )
    }

    version = models.OneToOneField(Version, on_delete=models.CASCADE, related_name="pin")
    state = models.CharField(max_length=10, choices=PinState.choices, default=PinState.PENDING)
    sentence = models.CharField(max_length=300, blank=True)  # why it failed or waits, or what drifted
    revision = models.CharField(max_length=80, blank=True)  # the commit or digest that the source stood for
    digest = models.CharField(max_length=80, blank=True)  # sha256:… over the canonical list of files
    # [{"path", "bytes", "sha256"}], by path; of large weights also {"heads": {bytes: SHA-256 of the first so many}}
    files = models.JSONField(default=list)
    total_bytes = models.BigIntegerField(default=0)
    # What is hashed already while it is being resolved or verified again: {"files": […], "bytes", "of"}
    progress = models.JSONField(default=dict)
    drift = models.JSONField(default=dict)  # {"revision", "changed": [], "missing": [], "extra": []}, while it drifts
    resolved_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)  # the last time that the source was found to hold the same
    drifted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["state", "verified_at"], name="pin_verified")]

    def __str__(self) -> str:
        return f"pin of {self.version_id}: {self.state}"


def with_pins(rows: Rows, *versions: str) -> Rows:
    """Return `rows` with the pins selected of the versions that lie at `versions`, such as "revision__version"; without
    any, the rows are versions themselves.

    Their lists of files stay where they are: they may be megabytes.
    """
    pins = [f"{version}__pin" for version in versions] or ["pin"]
    return rows.select_related(*pins).defer(*(f"{pin}__{field}" for pin in pins for field in ("files", "progress")))


def drift_of(version: Version) -> str:
    """Return what differs between the source of `version` and its pin, in one sentence, or ""."""
    pin: Pin | None = getattr(version, "pin", None)
    return pin.sentence if pin is not None and pin.state == PinState.DRIFTED else ""
