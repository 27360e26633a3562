"""REST API of group mappings."""

from django.http import HttpResponse
from ninja import Router
from pydantic import Field

from portal.errors import Invalid
from portal.http import clean_limit
from projects.api import Body, answer, idempotent, scope
from projects.models import GroupMapping
from projects.permissions import require_anywhere
from projects.principal import PortalRequest
from projects.sso import mappings

router = Router(tags=["single sign-on"])


class MappingIn(Body):
    """A new mapping: into a platform group, or into a project with a role."""

    group: str = Field(max_length=1000)
    into: str = Field("", max_length=200)
    project: str = Field("", max_length=40)
    role: str = Field("", max_length=40)
    managed: bool = True


def mapping_json(one: mappings.Mapping) -> dict[str, object]:
    """Return a mapping as the API shows it; those of the settings have no id."""
    return {
        "id": one.row.pk if one.row else None,
        "group": one.group,
        "into": one.into.name if one.into else None,
        "project": one.project.slug if one.project else None,
        "role": one.role or None,
        "managed": one.managed,
        "from_settings": one.row is None,
        "broken": one.broken or None,
    }


@router.get("/sso/mappings", auth=scope("admin"))
def list_mappings(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """Every mapping, those of the settings first."""
    require_anywhere(request.principal, "view", GroupMapping)
    size, after = clean_limit(limit), _place(cursor)
    placed = [((1, one.row.pk) if one.row else (0, index), one) for index, one in enumerate(mappings.known())]
    rest = sorted((item for item in placed if item[0] > after), key=lambda item: item[0])
    following = "{}.{}".format(*rest[size - 1][0]) if len(rest) > size else None
    return answer(request, {"items": [mapping_json(one) for _, one in rest[:size]], "next": following})


def _place(cursor: str | None) -> tuple[int, int]:
    """Return the place after which a page begins; raises Invalid for what this list has not given out."""
    if not cursor:
        return (-1, 0)
    kind, _, number = cursor.partition(".")
    if kind not in {"0", "1"} or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        raise Invalid.field("cursor", "cursor is not one that this list has given out. Start again without it.")
    return (int(kind), int(number))


@router.post("/sso/mappings", auth=scope("admin"))
@idempotent
def create_mapping(request: PortalRequest, body: MappingIn) -> HttpResponse:
    """Let a group lead somewhere."""
    row = mappings.create(request.principal, **body.model_dump())
    made = mappings.Mapping(row.group, row.into, row.project, row.role, row.managed, row)
    return answer(request, mapping_json(made), 201)


@router.delete("/sso/mappings/{int:mapping_id}", auth=scope("admin"))
def delete_mapping(request: PortalRequest, mapping_id: int) -> HttpResponse:
    """Delete a mapping; the last managed one to a place takes what it gave at once."""
    mappings.delete(request.principal, mappings.get(request.principal, mapping_id))
    return HttpResponse(status=204)
