"""To use an MCP server in a project: which of its tools, until when. Approval grants it; one review.

Tools are granted by name and shown to the reviewer with the digest of their pinned definition. What a server only
describes (it is started as a program, or asks callers to sign in) has no pins, and the plan says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approvals.bodies import McpAccessBody
from approvals.kinds.base import Subject, named_project, project_for, refuse, require_open, shell, shortened
from approvals.kinds.endpoint import find_version
from approvals.kinds.offered import Offered, offered
from approvals.models import Request, RequestState
from approvals.planning import security
from approvals.planning.around import around
from approvals.verdicts import FAIL, PASS, WARN, Check
from catalog import cells as catalog_cells
from catalog import standing
from catalog.evidence.licence import terms
from catalog.mcp import definitions, grants
from catalog.mcp.granted import living_grants
from catalog.mcp.server_json import server_name
from catalog.models import Kind, ServerGrant, Verdict, Version, VersionState
from portal.errors import Conflict, Invalid
from projects.models import Project
from projects.principal import Principal

SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Resolved:
    """Who wants to use what. `present`: what the project has of the server already."""

    project: Project
    version: Version
    offered: Mapping[str, Offered]
    wanted: list[str]
    present: ServerGrant | None

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return Subject(self.project, self.version.asset.slug, version=self.version)

    @property
    def chosen(self) -> list[Offered]:
        """Those of the wanted tools that there are."""
        return [self.offered[name] for name in self.wanted if name in self.offered]


def subject(by: Principal, body: McpAccessBody) -> Subject:
    """Return what a draft is about: the project that asks, and the server by the name that was typed."""
    return Subject(named_project(by, body), body.asset or "")


def resolve(by: Principal, body: McpAccessBody) -> Resolved:
    """Look up project and version; raises Invalid naming each field whose value the caller may not use."""
    problems: dict[str, str] = {}
    project: Project | None = None
    try:
        project = project_for(by, body.project or "")
    except Invalid as error:
        problems.update(error.fields)
    version = find_version(by, body.asset or "", body.version or "", problems)
    if project is None or version is None or problems:
        refuse(problems)
    if version.asset.kind != Kind.MCP_SERVER:
        raise Invalid.field("asset", f"asset is {version.asset.slug}, which is a model. Ask for an endpoint instead.")
    require_open(by, version.asset, project)
    found = offered(version)
    present = living_grants().filter(project=project, asset=version.asset_id).select_related("version").first()
    return Resolved(project, version, found, body.tools or sorted(found), present)


def build(by: Principal, body: McpAccessBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: the server, its tools with hints and pins, what is known about it, until when."""
    version, present = found.version, found.present
    checks = [
        _approved(version),
        _known(found),
        _pinned(found),
        _writing(found),
        _standing(version),
        _licence(version),
        _ends(body),
        _explained(body),
    ]
    before = present.ends_on.isoformat() if present and present.ends_on else None
    return {
        **shell("mcp-access", checks),
        "asset": version.asset.slug,
        "asset_name": version.asset.name,
        "version": version.version,
        "licence": version.licence,
        "security": security.security(version, around(found.project, terms(version.licence)), callers=False),
        "server": {
            "name": server_name(version),
            "transport": catalog_cells.transport(version),
            "sign_in": catalog_cells.sign_in(version),
        },
        "project": found.project.slug,
        "tools": [tool.json() for tool in found.chosen],
        "listed": len(found.offered),
        "set_digest": definitions.whole_digest({tool.name: tool.digest for tool in found.chosen}),
        "replaces": f"version {present.version.version}, {_tools(len(present.tools))}" if present else "",
        "ends_on": {"before": before, "after": body.ends_on.isoformat() if body.ends_on else None},
    }


def _approved(version: Version) -> Check:
    state = VersionState(version.state)
    ok = state == VersionState.APPROVED
    reason = f"{version.asset.slug} {version.version} is {state.label.lower()}."
    fix = "" if ok else "Choose an approved version in the catalog."
    return Check("cat-001", "Version is approved", PASS if ok else FAIL, reason, fix, "version")


def _known(found: Resolved) -> Check:
    """Only tools of this version can be granted."""
    unknown = [name for name in found.wanted if name not in found.offered]
    title = "Tools are those of the version"
    if unknown:
        some = _names(sorted(found.offered)) or "none"
        reason = f"tools names {_names(unknown)}; {found.version.asset.slug} {found.version.version} lists {some}."
        return Check("srv-001", title, FAIL, reason, "Name only tools that it lists.", "tools")
    if not found.offered:
        reason = "Nobody has listed its tools; the grant names none of them."
        return Check("srv-001", title, WARN, reason, "Ask for a version that lists them.", "version")
    reason = f"{_tools(len(found.wanted))} of {len(found.offered)}."
    return Check("srv-001", title, PASS, reason, "", "version")


def _pinned(found: Resolved) -> Check:
    """What is pinned was reviewed word by word, and a change of it is noticed."""
    loose = [tool.name for tool in found.chosen if not tool.digest]
    title = "Definitions are pinned"
    if loose or not found.chosen:
        reason = "The server was described by its publisher and not inspected: a change of its tools goes unnoticed."
        return Check("srv-002", title, WARN, reason, "Prefer a server that is reached over HTTP.", "version")
    return Check(
        "srv-002", title, PASS, f"{_tools(len(found.chosen))} pinned by the digest of the definition.", "", "version"
    )


def _writing(found: Resolved) -> Check:
    """A hint is the publisher's word; silence is not safety."""
    title = "Tools only read"
    destroy = [tool.name for tool in found.chosen if tool.hints.get("destructive_hint")]
    silent = [
        tool.name for tool in found.chosen if tool.hints.get("read_only_hint") is None and tool.name not in destroy
    ]
    write = [
        tool.name for tool in found.chosen if tool.hints.get("read_only_hint") is False and tool.name not in destroy
    ]
    said = [(destroy, "may destroy something"), (write, "may write"), (silent, "does not say whether it writes")]
    words = [f"{_names(names)}: {what}" for names, what in said if names]
    if words:
        return Check(
            "srv-003", title, WARN, f"{'; '.join(words)}.", "Leave out what the project does not need.", "version"
        )
    return Check("srv-003", title, PASS, "Every tool says that it only reads.", "", "version")


def _standing(version: Version) -> Check:
    """What was found since the approval counts too: a failed finding stops new grants."""
    failed = [item for item in version.latest_evidence() if item.verdict == Verdict.FAIL]
    title = "Evidence stands"
    if failed:
        return Check("srv-004", title, FAIL, failed[0].summary, "Wait until it is looked at again.", "version")
    why = standing.problems(version)
    if why:
        return Check("srv-004", title, WARN, why[0], "", "version")
    return Check("srv-004", title, PASS, "No check of it fails.", "", "version")


def _licence(version: Version) -> Check:
    found = next((item for item in version.latest_evidence() if item.kind == "licence"), None)
    if found is None or found.verdict == Verdict.PASS:
        return Check("srv-005", "Licence allows it", PASS, f"{version.licence}.", "", "version")
    return Check("srv-005", "Licence allows it", WARN, found.summary, "Read its terms before use.", "version")


def _ends(body: McpAccessBody) -> Check:
    ok = body.ends_on is not None
    reason = (
        f"It ends by itself after {body.ends_on}." if ok else "It has no end date: it lasts until somebody ends it."
    )
    return Check("srv-006", "Ends by itself", PASS if ok else WARN, reason, "" if ok else "Set ends_on.", "ends_on")


def _explained(body: McpAccessBody) -> Check:
    ok = bool(body.purpose)
    reason = "The purpose is stated." if ok else "Nobody says what it is for."
    return Check("srv-007", "Purpose is stated", PASS if ok else WARN, reason, "" if ok else "Say what for.", "purpose")


def _tools(count: int) -> str:
    return f"{count} tool{'' if count == 1 else 's'}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:60] for name in names[:SHOWN]) + more


def guard(request: Request, found: Resolved) -> None:
    """One at a time for the same server and project."""
    Project.objects.select_for_update().get(pk=found.project.pk)  # two that are sent at the same instant queue here
    same = Request.objects.filter(kind=request.kind, project=found.project, version__asset=found.version.asset_id)
    other = same.filter(state=RequestState.SUBMITTED).exclude(pk=request.pk).first()
    if other is not None:
        raise Conflict(
            f"{other} asks for {found.version.asset.slug} already and waits for a decision. Withdraw it first, or "
            "comment on it.",
            code="already_asked",
            extra={"request": other.pk},
        )


def apply(by: Principal, request: Request, body: McpAccessBody, found: Resolved) -> None:
    """Grant the tools of the frozen plan: what the reviewer saw, and nothing that came since."""
    grants.grant(
        by,
        found.version,
        found.project,
        tools=[tool["name"] for tool in request.plan["tools"]],
        ends_on=body.ends_on,
        reason=shortened(body.purpose or "", grants.MAX_REASON),
        reference=request.number,
    )
