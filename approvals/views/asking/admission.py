"""To let a version into the catalog: one of the drafts that the person may send."""

from collections.abc import Mapping
from typing import Any

from approvals.views import fields
from approvals.views.asking.base import KindForm
from approvals.views.choices import NOTHING, Choice
from approvals.views.fields import Shape
from catalog import cells, proposing
from catalog.models import Version, VersionState

MOST = 100


class AdmissionForm(KindForm):
    """The form for an admission; the version's own page sends it, too."""

    KIND = "admission"
    TAB = "Into the catalog"
    TITLE = "Send a version to review"
    LEAD = "Somebody else reviews the evidence and decides. Until then nothing of the version is started."
    LABELS = {"proposal": "Version", "purpose": "Purpose"}
    SECTIONS = (("Which version", (("proposal",),)), ("Why", (("purpose",),)))
    NEEDS = ("asset", "version")

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: object) -> dict[str, str]:
        """Return the version that the address names with the fields of the body."""
        asset, version = asked.get("asset", "")[:40], asked.get("version", "")[:40]
        return {"proposal": f"{asset}@{version}"} if asset and version else {}

    @classmethod
    def text_of(cls, body: Mapping[str, Any]) -> dict[str, str]:
        """Return a stored body as it is typed."""
        chosen = f"{body.get('asset')}@{body.get('version') or ''}" if body.get("asset") else ""
        return super().text_of({**body, "proposal": chosen})

    def load(self) -> None:
        """Read the drafts and blocked versions that the person may send (one query)."""
        waiting = Version.objects.visible_to(self.by).filter(state__in=(VersionState.DRAFT, VersionState.BLOCKED))
        rows = waiting.select_related("asset").order_by("-created_at", "-id")[:MOST]
        self.versions = [row for row in rows if self._mine(row)]

    def _mine(self, version: Version) -> bool:
        """Whether the person may send it; what the list shows is visible, so no query is needed."""
        return proposing.is_own(self.by, version) or proposing.stewards(self.by)

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        return {
            "proposal": fields.select(self._choices(), "Drafts of yours, and blocked versions for stewards."),
            "purpose": fields.purpose("Reviewers read this first: who needs it, and what for."),
        }

    def _choices(self) -> list[Choice]:
        found = [(cells.ticket(row), f"{row.asset.name} {row.version}", False) for row in self.versions]
        value = self.values["proposal"]
        if value and value not in {choice[0] for choice in found}:
            found.append((value, f"{value[:80]} · no draft of yours", False))
        return [NOTHING, *found]

    def data(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the body: the choice taken apart."""
        asset, _, version = values["proposal"].partition("@")
        return {
            "kind": self.KIND,
            "asset": asset or None,
            "version": version or None,
            "purpose": values["purpose"] or None,
        }

    def place(self, field: str) -> str:
        """Sentences about asset and version stand at the choice of the version."""
        return "proposal" if field in {"asset", "version"} else field
