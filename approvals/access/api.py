"""REST API of the access explorer."""

import base64
import datetime as dt
import itertools
import json
from collections.abc import Iterable

from django.http import HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from approvals.access.explain import Explorer, Place, Row
from approvals.access.sight import question, sight
from approvals.access.why import why
from approvals.access.words import KINDS, WORDS
from portal.errors import Invalid
from portal.http import canonical, clean_limit
from portal.listing import CSV_ROWS, to_csv
from projects.api import Bearer, answer
from projects.principal import PortalRequest

router = Router(tags=["access"])

COLUMNS = ("on_kind", "on", "word", "who", "kind", "allowed", "through", "ends_at")


class AccessQuery(Schema):
    """What to explain: at least one of asset, project, user and key; several narrow."""

    asset: str = Field("", max_length=200, description="slug of an asset")
    project: str = Field("", max_length=200, description="slug of a project")
    user: str = Field("", max_length=200, description="user name of a person or service account")
    key: str = Field("", max_length=200, description="prefix or id of an API key")
    word: str = Field("", max_length=40, description="see, request, invoke, manage or decide")
    why: str = Field("", max_length=120, description="one of these words, or a permission: why, or why not")
    format: str = Field("", max_length=16, description="json or csv")
    limit: int | None = None
    cursor: str = Field("", max_length=2000)


@router.get("/access", auth=Bearer())
def access(request: PortalRequest, query: Query[AccessQuery]) -> HttpResponse:
    """Who may see, request, invoke, manage and decide, and through which role, grant, share or scope.

    `audit:read` or `admin` opens what the roles open; any token explains the own person. `why` with a user or key
    answers why, or why not, with what is missing and who can give it. CSV by `Accept: text/csv` or `?format=csv`.
    """
    if query.format not in {"", "json", "csv"}:
        raise Invalid.field("format", f"format is {query.format!r}; choose json or csv.")
    word = chosen_word(query.word)
    who = sight(request.principal)
    asked = question(who, asset=query.asset, project=query.project, user=query.user, key=query.key)
    after, size = place_of(query.cursor), clean_limit(query.limit)
    explorer = Explorer(who, asked)
    if query.why:
        return answer(request, why(explorer, query.why).json())
    if (query.format or _preferred(request)) == "csv":
        return csv_answer(explorer.rows(word=word))
    rows = list(itertools.islice(explorer.rows(after=after, word=word), size + 1))
    following = cursor_of(rows[size - 1]) if len(rows) > size else None
    return answer(request, {"items": [row_json(row) for row in rows[:size]], "next": following})


def chosen_word(text: str) -> str:
    """Return one of the five words or nothing; raises Invalid for any other."""
    if text and text not in WORDS:
        raise Invalid.field("word", f"word is {text!r}; choose one of {', '.join(WORDS)}.")
    return text


def row_json(row: Row) -> dict[str, object]:
    """Return a row as the API shows it."""
    return {
        "on": {"kind": row.on.kind, "name": row.on.name},
        "word": row.word,
        "who": row.who,
        "kind": row.kind,
        "allowed": row.allowed,
        "through": [way.json() for way in row.through],
    }


def csv_answer(rows: Iterable[Row]) -> HttpResponse:
    """Return rows as a CSV download, at most 10,000 of them; what ends first stands in `ends_at`."""
    lines = [
        {
            "on_kind": row.on.kind,
            "on": row.on.name,
            "word": row.word,
            "who": row.who,
            "kind": row.kind,
            "allowed": row.allowed,
            "through": "; ".join(way.sentence for way in row.through),
            "ends_at": min((_moment(way.ends_at) for way in row.through if way.ends_at), default=None),
        }
        for row in itertools.islice(rows, CSV_ROWS)
    ]
    response = HttpResponse(to_csv(lines, COLUMNS), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="access.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _moment(ends_at: dt.datetime | dt.date) -> str:
    return (ends_at.astimezone(dt.UTC) if isinstance(ends_at, dt.datetime) else ends_at).isoformat()


def _preferred(request: PortalRequest) -> str:
    return "csv" if request.get_preferred_type(["application/json", "text/csv"]) == "text/csv" else "json"


def cursor_of(row: Row) -> str:
    """Return the cursor of the page behind a row."""
    return base64.urlsafe_b64encode(canonical(list(row.place)).encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place | None:
    """Return where the page before ended; raises Invalid for what this list has not given out."""
    if not cursor:
        return None
    try:
        kind, name, word, holder, who = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        numbers, texts = (kind, word, holder), (name, who)
        if any(type(one) is not int for one in numbers) or any(type(one) is not str for one in texts):
            raise ValueError("shape")
        if not (0 <= kind < len(KINDS) and 0 <= word < len(WORDS)):
            raise ValueError("range")
    except (ValueError, TypeError, RecursionError) as error:
        raise Invalid.field(
            "cursor", "cursor is not one that this list has given out. Start again without it."
        ) from error
    return kind, name, word, holder, who
