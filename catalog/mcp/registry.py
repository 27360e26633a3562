"""The official MCP registry API, v0.1, read only: what anybody may read of, and what a project has been granted.

Both are pages of the same shape. A version that is blocked or retired is in neither from that moment on.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.utils.dateparse import parse_datetime

from catalog.mcp import granted
from catalog.mcp.definitions import whole_digest
from catalog.mcp.server_json import document, own_space, server_name
from catalog.models import Access, Kind, ServerGrant, Tool, Version, VersionState
from portal.errors import Invalid
from portal.http import clean_text, cursor_page
from projects.models import Project

OFFICIAL = "io.modelcontextprotocol.registry/official"
LIMIT, MOST = 30, 100
LATEST = "latest"


@dataclass(frozen=True)
class Entry:
    """One version of a server as the registry shows it. `tools`: digest by name, of those that may be used."""

    version: Version
    latest: bool
    updated: dt.datetime | None
    tools: Mapping[str, str]
    ends_on: dt.date | None = None

    def json(self) -> dict[str, Any]:
        """Return it in the official shape."""
        version = self.version
        status = "deprecated" if version.state == VersionState.DEPRECATED else "active"
        official = {
            "status": status,
            "publishedAt": _moment(version.approved_at),
            "updatedAt": _moment(self.updated or version.changed_at or version.approved_at),
            "isLatest": self.latest,
        }
        return {"server": document(version), "_meta": {OFFICIAL: official, f"{own_space()}/approval": self.approval()}}

    def approval(self) -> dict[str, Any]:
        """Return what this installation knows: which tools may be used, under which digests, until when, and the
        verdicts.
        """
        version, successor = self.version, self.version.successor_for(None)
        return {
            "asset": version.asset.slug,
            "version": version.version,
            "licence": version.licence,
            "tools": [{"name": name, "digest": digest or None} for name, digest in sorted(self.tools.items())],
            "toolsDigest": whole_digest(self.tools),
            "endsOn": self.ends_on.isoformat() if self.ends_on else None,
            "successor": f"{successor.asset.slug}@{successor.version}" if successor else None,
            "evidence": {item.kind: item.verdict for item in version.latest_evidence()},
        }


class View(Protocol):
    """Whose registry it is."""

    def page(self, asked: "Asked") -> tuple[list[Entry], str | None]:
        """Return one page and the cursor of the next one."""

    def named(self, name: str) -> list[Entry]:
        """Return every version of a server, newest first."""


@dataclass(frozen=True)
class Asked:
    """What the query of a list asks for."""

    limit: int = LIMIT
    cursor: str | None = None
    search: str = ""
    version: str = ""
    since: dt.datetime | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """Return what `query` says; raises Invalid naming the field, its limit and the fix."""
        limit = query.get("limit") or str(LIMIT)
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 6 and 1 <= int(limit) <= MOST):
            raise Invalid.field("limit", f"limit is {limit[:20]!r}; it must lie between 1 and {MOST}.")
        since = query.get("updated_since", "")
        return cls(
            limit=int(limit),
            cursor=query.get("cursor", "")[:2000] or None,
            search=clean_text(query.get("search", ""), field="search", high=200),
            version=clean_text(query.get("version", ""), field="version", high=255),
            since=_since(since) if since else None,
        )


def _since(text: str) -> dt.datetime:
    wrong = f"updated_since is {text[:40]!r}; give a time like 2026-11-18T09:14:00Z."
    try:
        found = parse_datetime(text.replace(" ", "+"))  # a plus that nobody has encoded arrives as a space
        if found is None or found.tzinfo is None:
            raise Invalid.field("updated_since", wrong)
        return found.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid.field("updated_since", wrong) from error


def _moment(at: dt.datetime | None) -> str | None:
    return at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def _related(prefix: str = "") -> list[Any]:
    digests = Tool.objects.only("name", "digest", "version_id").order_by("name")
    return [f"{prefix}evidence", Prefetch(f"{prefix}tools", digests)]


def _about(prefix: str, asked: Asked) -> Q:
    """Return the condition of search and exact version; `prefix` leads to the version."""
    found = Q()
    if asked.search:
        found &= Q(**{f"{prefix}facts__registry_name__icontains": asked.search}) | Q(
            asset__slug__icontains=asked.search
        )
    if asked.version and asked.version != LATEST:
        found &= Q(**{f"{prefix}version": asked.version})
    return found


def _called(name: str, prefix: str = "") -> Q:
    """Return the condition that a server may be called `name`; the caller looks closer."""
    return Q(**{f"{prefix}facts__registry_name": name}) | Q(asset__slug=name.rpartition("/")[2])


class Public:
    """The servers that stewards have put there, with every version that may be used."""

    def rows(self) -> QuerySet[Version]:
        """Return the versions, each knowing the newest one of its asset."""
        open_to_all = {"asset__kind": Kind.MCP_SERVER, "asset__access": Access.EVERYONE, "asset__registry_public": True}
        usable = Version.objects.filter(state__in=granted.USABLE)
        newest = usable.filter(asset=OuterRef("asset")).order_by("-approved_at", "-id").values("pk")[:1]
        rows = usable.filter(**open_to_all).select_related("asset", "successor__asset")
        return rows.annotate(newest=Subquery(newest)).prefetch_related(*_related())

    def page(self, asked: Asked) -> tuple[list[Entry], str | None]:
        """Return one page by age (three queries)."""
        rows = self.rows().filter(_about("", asked))
        if asked.version == LATEST:
            rows = rows.filter(pk=F("newest"))
        if asked.since:
            rows = rows.filter(Q(changed_at__gte=asked.since) | Q(changed_at=None, approved_at__gte=asked.since))
        found, following = cursor_page(rows, limit=asked.limit, cursor=asked.cursor, order=("id",))
        return [self._entry(row) for row in found], following

    def named(self, name: str) -> list[Entry]:
        """Return every version of a server, newest first."""
        found = self.rows().filter(_called(name)).order_by("-approved_at", "-id")
        return [self._entry(row) for row in found if server_name(row) == name]

    def _entry(self, row: Any) -> Entry:
        return Entry(row, row.newest == row.pk, None, {tool.name: tool.digest for tool in row.tools.all()})


class Granted:
    """What a project has been granted: of each server one version, and the tools that it may use."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def rows(self) -> QuerySet[ServerGrant]:
        """Return the grants that hold, with what entries read."""
        rows = (
            granted.usable()
            .filter(project=self.project)
            .select_related("asset", "version__asset", "version__successor__asset")
        )
        return rows.prefetch_related(*_related("version__"))

    def page(self, asked: Asked) -> tuple[list[Entry], str | None]:
        """Return one page by age (three queries); every entry is the latest, since there is one of each server."""
        rows = self.rows().filter(_about("version__", asked))
        if asked.since:
            rows = rows.filter(Q(created_at__gte=asked.since) | Q(version__changed_at__gte=asked.since))
        found, following = cursor_page(rows, limit=asked.limit, cursor=asked.cursor, order=("id",))
        return [self._entry(row) for row in found], following

    def named(self, name: str) -> list[Entry]:
        """Return the granted version of a server, or nothing."""
        found = self.rows().filter(_called(name, "version__")).order_by("-created_at", "-id")
        return [self._entry(row) for row in found if server_name(row.version) == name]

    def _entry(self, row: ServerGrant) -> Entry:
        version = row.version
        pinned = {tool.name: tool.digest for tool in version.tools.all()}
        times = [at for at in (row.created_at, version.changed_at, version.approved_at) if at is not None]
        return Entry(version, True, max(times), {name: pinned.get(name, "") for name in row.tools}, row.ends_on)


def listed(view: View, asked: Asked) -> dict[str, Any]:
    """Return a page in the official shape."""
    found, following = view.page(asked)
    metadata: dict[str, Any] = {"count": len(found)}
    return {
        "servers": [entry.json() for entry in found],
        "metadata": metadata | ({"nextCursor": following} if following else {}),
    }


def versions(view: View, name: str) -> dict[str, Any] | None:
    """Return every version of a server in the official shape; None where there is no such server."""
    found = view.named(name)
    if not found:
        return None
    return {"servers": [entry.json() for entry in found], "metadata": {"count": len(found)}}


def one(view: View, name: str, version: str) -> dict[str, Any] | None:
    """Return one version, or the latest; None where there is none."""
    for entry in view.named(name):
        if version == entry.version.version or (version == LATEST and entry.latest):
            return entry.json()
    return None
