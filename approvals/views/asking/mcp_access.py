"""To use an MCP server in a project: server, tools, until when."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from approvals.bodies import LONGEST_TOOL
from approvals.kinds.offered import Offered, offered
from approvals.views import fields
from approvals.views.asking.base import DAYS, KindForm, days_from
from approvals.views.choices import NOTHING, Choice
from approvals.views.fields import LONGEST, Shape
from catalog import cells
from catalog.holders import open_where
from catalog.models import Kind, Version, VersionState
from projects.models import Project

MOST = 300  # servers to choose from; the chosen one is always among them


class McpAccessForm(KindForm):
    """The form for access to an MCP server."""

    KIND = "mcp-access"
    TAB = "MCP server"
    TITLE = "Ask for an MCP server"
    LEAD = "Approved servers of the catalog. Your project gets the tools that you name, in its own registry view."
    LABELS = {
        "project": "Project",
        "server": "MCP server",
        "tools": "Tools",
        "ends_on": "Until",
        "purpose": "Purpose",
    }
    SECTIONS = (
        ("Which server", (("server", "project"), ("tools",), ("ends_on",))),
        ("Why", (("purpose",),)),
    )
    NEEDS = ("project", "asset", "version")
    FOLLOWS = ("server",)
    BEGINS = "server"
    FILLED = ("tools",)

    @classmethod
    def blank(cls, asked: Mapping[str, str], project: Project | None) -> dict[str, str]:
        """Return three months from now; the address names the server with the fields of the body."""
        asset, version = asked.get("asset", "")[:40], asked.get("version", "")[:40]
        start = {"ends_on": days_from(timezone.now().date(), DAYS)} | super().blank(asked, project)
        return start | ({"server": f"{asset}@{version}"} if asset else {})

    @classmethod
    def text_of(cls, body: Mapping[str, Any]) -> dict[str, str]:
        """Return a stored body as it is typed."""
        server = f"{body.get('asset')}@{body.get('version') or ''}" if body.get("asset") else ""
        return super().text_of({**body, "server": server, "tools": "\n".join(body.get("tools") or [])})

    def load(self) -> None:
        """Read the approved servers and, of the chosen one, its tools (three queries; four where some are listed)."""
        if not self.values["project"] and self.own:
            self.values["project"] = self.own[0].slug
        rows = Version.objects.visible_to(self.by).filter(state=VersionState.APPROVED, asset__kind=Kind.MCP_SERVER)
        found = list(rows.select_related("asset").order_by("asset__name", "-approved_at", "-id")[:MOST])
        where = open_where(self.by, [project.pk for project in self.own], [version.asset for version in found])
        project = next((item for item in self.own if item.slug == self.values["project"]), None)
        self.servers = [version for version in found if project is None or project.pk in where[version.asset_id]]
        self.server = self._chosen()
        if self.server is not None:
            self.values["server"] = cells.ticket(self.server)
        self.tools: Mapping[str, Offered] = offered(self.server) if self.server else {}

    def _chosen(self) -> Version | None:
        """Return the chosen version; the newest one where the address names only the asset."""
        asset, _, name = self.values["server"].partition("@")
        return next(
            (row for row in self.servers if row.asset.slug == asset and name in ("", row.version)), None
        )  # fmt: skip

    def filled(self) -> dict[str, str]:
        """Return all tools of the chosen server; none where that would be a wall of text, which means all too."""
        text = "\n".join(sorted(self.tools))
        return {"tools": text if len(text) <= LONGEST else ""}

    def shapes(self) -> dict[str, Shape]:
        """Return all fields of the body."""
        return {
            "project": fields.project(self.roles, self.values["project"], "The project that will use it."),
            "server": fields.select(self._choices(), self._help()),
            "tools": {
                "kind": "textarea",
                "required": False,
                "help": self._tools_help(),
                "attrs": {"spellcheck": "false", "maxlength": LONGEST_TOOL * 501, "class": "gh-mono"},
            },
            "ends_on": fields.end_date(),
            "purpose": fields.purpose("Reviewers read this first: which assistant, for whom, with which data."),
        }

    def _choices(self) -> list[Choice]:
        found = [(cells.ticket(row), f"{row.asset.name} {row.version}", False) for row in self.servers]
        value = self.values["server"]
        if value and value not in {choice[0] for choice in found}:
            found.append((value, f"{value[:80]} · not approved, or not open to this project", False))
        return [NOTHING, *found]

    def _help(self) -> str:
        if self.server is None:
            return "Only approved servers are offered."
        return f"{cells.transport(self.server)} · sign-in: {cells.sign_in(self.server)}"

    def _tools_help(self) -> str:
        if not self.tools:
            return "One name a line; empty: all that it lists."
        pinned = all(tool.digest for tool in self.tools.values())
        words = "all pinned" if pinned else "described by its publisher, not pinned"
        return f"One name a line; take out what is not needed. It lists {len(self.tools)}, {words}."

    def data(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the body: the choice taken apart, and a line for each tool."""
        asset, _, version = values["server"].partition("@")
        tools = [line.strip() for line in values["tools"].splitlines() if line.strip()]
        return {
            "kind": self.KIND,
            "project": values["project"] or None,
            "asset": asset or None,
            "version": version or None,
            "tools": tools or None,
            "ends_on": values["ends_on"] or None,
            "purpose": values["purpose"] or None,
        }

    def place(self, field: str) -> str:
        """Sentences about asset and version stand at the choice of the server."""
        return "server" if field in {"asset", "version"} else field
