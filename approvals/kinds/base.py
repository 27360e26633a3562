"""What a kind of request is made of, and what several kinds look up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from django.db.models import QuerySet

from approvals import lead_time
from approvals.bodies import RequestBody
from approvals.models import Request, RequestState
from approvals.policies import document as documents
from approvals.verdicts import Check, ordered
from catalog.models import Access, Asset, HardwareProfile, Version, with_pins
from endpoints.models import Desired, Endpoint, Phase, Revision
from portal.errors import Conflict, Invalid
from projects.models import Project
from projects.permissions import can, visible
from projects.principal import Principal

SCHEMA = 2  # of a plan: 2 added security, loads and sharing (docs/requests.md)


@dataclass(frozen=True)
class Subject:
    """What a request is about, as far as its body says: the columns by which lists filter. `endpoint`: an existing
    one.
    """

    project: Project | None  # none of an admission
    name: str = ""
    environment: str = ""
    version: Version | None = None
    profile: HardwareProfile | None = None
    endpoint: Endpoint | None = None


class Found(Protocol):
    """The objects that a whole body names."""

    @property
    def subject(self) -> Subject:
        """Their part that the request keeps."""


BodyT = TypeVar("BodyT", bound=RequestBody, contravariant=True)
FoundT = TypeVar("FoundT", bound=Found)


class Kind(Protocol[BodyT, FoundT]):
    """One kind of request. Each is a module with these functions; approvals/services.py knows nothing else of it."""

    def subject(self, by: Principal, body: BodyT) -> Subject:
        """Return what a draft is about. Raises Invalid when `by` may not ask for it; what is missing may be missing."""

    def resolve(self, by: Principal, body: BodyT) -> FoundT:
        """Return the objects that a whole body names; raises Invalid naming each field that `by` may not use."""

    def build(self, by: Principal, body: BodyT, found: FoundT) -> dict[str, Any]:
        """Return the plan as plain JSON. Failing checks do not raise: they stand in `checks`."""

    def guard(self, request: Request, found: FoundT) -> None:
        """Raise Conflict when `request` must not be sent now, whatever its plan says."""

    def apply(self, by: Principal, request: Request, body: BodyT, found: FoundT) -> Endpoint | None:
        """Do what was approved, in the caller's transaction; return the endpoint that it is about, if any."""


def shell(kind: str, checks: Iterable[Check], environment: str = "") -> dict[str, Any]:
    """Return what every plan has: its checks worst first, and how long it usually takes (for `environment`, where
    enough were asked for).
    """
    return {
        "schema": SCHEMA,
        "kind": kind,
        "checks": [check.json() for check in ordered(checks)],
        "lead_time": lead_time.cached(kind, environment),
    }


def refuse(problems: dict[str, str]) -> NoReturn:
    """Raise Invalid with `problems` by field, the first of them as the sentence."""
    raise Invalid(next(iter(problems.values())), fields=problems)


def project_for(by: Principal, slug: str) -> Project:
    """Return the project in which the caller may send requests; raises Invalid with one sentence for unknown and
    foreign alike.
    """
    project: Project | None = visible(by, Project.objects.all()).filter(slug=slug).first()
    if project is None or not can(by, "request", project):
        raise Invalid.field(
            "project",
            f"project {slug!r} is not one in which you may send requests. Choose one where you are owner or developer.",
        )
    return project


def named_project(by: Principal, body: Any) -> Project:
    """Return the project that `body` names; raises Invalid where it names none, or one that is not the caller's."""
    if body.project is None:
        raise Invalid.field("project", "project is missing. Fill it in.")
    return project_for(by, body.project)


def living() -> QuerySet[Endpoint]:
    """Return the endpoints that are not gone and not going, with what plans read of them."""
    related = ("project", "cluster", "contact", "created_by", "revision__version__asset", "revision__profile")
    found = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    return documents.counted(with_pins(found.select_related(*related), "revision__version"))


def own_endpoint(by: Principal, identifier: str | None) -> Endpoint:
    """Return the living endpoint for whose project the caller may send requests; raises Invalid with one sentence
    for unknown, foreign and deleted alike.
    """
    if not identifier:
        raise Invalid.field("endpoint", "endpoint is missing. Give the id of an endpoint.")
    found: Endpoint | None = visible(by, living()).filter(pk=identifier).first()
    if found is None or not can(by, "request", found.project):
        raise Invalid.field(
            "endpoint",
            f"endpoint {identifier} is not one for which you may send requests: it is deleted, or in a project where "
            "you are neither owner nor developer. Choose one of your projects' endpoints.",
        )
    return found


def not_open(by: Principal, asset: Asset, project: Project) -> str:
    """Return the end of a sentence: why `by` may not ask for something with `asset` in `project`, and who changes that;
    "" when they may (a query only where the asset is not for everyone).
    """
    if asset.access == Access.EVERYONE or Asset.objects.open_in(by, project.pk).filter(pk=asset.pk).exists():
        return ""
    return (
        f"is not open to {project.slug}: it is only for those who are listed. A platform engineer or governance lead "
        "can grant it to the project, on its page in the catalog."
    )


def require_open(by: Principal, asset: Asset, project: Project, *, field: str = "asset") -> None:
    """Raise Invalid `asset_not_open` at `field`, unless `by` may ask for something with `asset` in `project`.

    Only for an asset that `by` sees or runs: the sentence names it.
    """
    words = not_open(by, asset, project)
    if words:
        thing = asset.slug if field == "asset" else f"one of {asset.slug}"
        raise Invalid.field(field, f"{field} is {thing}, which {words}", code="asset_not_open")


def shortened(text: str, most: int) -> str:
    """Return `text` in at most so many characters: what a request says at length, where a row keeps only a line."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def running(endpoint: Endpoint) -> Revision:
    """Return what the endpoint runs now; raises Conflict where it has nothing."""
    if endpoint.revision is None:
        raise Conflict(f"{endpoint.name} has no revision to run.", code="no_revision")
    return endpoint.revision


def endpoint_facts(endpoint: Endpoint) -> dict[str, Any]:
    """Return how a plan names an existing endpoint."""
    return {
        "id": str(endpoint.pk),
        "name": endpoint.name,
        "project": endpoint.project.slug,
        "environment": endpoint.environment,
        "phase": endpoint.phase,
        "ends_on": endpoint.ends_on.isoformat() if endpoint.ends_on else None,
    }


def ask_once(request: Request, found: Subject, *, words: str) -> None:
    """Raise Conflict `already_asked` while another request of the same kind waits for the same endpoint.

    The database holds it too (`one_open_request_per_endpoint`): two that are sent at the same instant.
    """
    same = Request.objects.filter(kind=request.kind, endpoint=found.endpoint, project=found.project)
    other = same.filter(state=RequestState.SUBMITTED).exclude(pk=request.pk).first()
    if other is not None:
        raise Conflict(
            f"{other} asks for {words} already and waits for a decision. Withdraw it first, or comment on it.",
            code="already_asked",
            extra={"request": other.pk},
        )
