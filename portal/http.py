"""What every view and operation shares: page or part, keyset pagination, ETags, bounds of text."""

import base64
import datetime as dt
import hashlib
import json
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Field, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from portal.errors import Invalid, PreconditionFailed, PreconditionRequired

DEFAULT_LIMIT, MAX_LIMIT = 50, 200


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    part: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `template`, or only its partial `part` when htmx asks for it. The only reader of `request.htmx`."""
    htmx = getattr(request, "htmx", None)
    wants_part = part is not None and htmx and not htmx.history_restore_request
    name = f"{template}#{part}" if wants_part else template
    # What stands around a part is on the screen already; portal/context.py need not ask the database for it.
    vars(request)["in_frame"] = bool(wants_part)
    try:
        response = render(request, name, dict(context or {}), status=status)
    finally:
        del vars(request)["in_frame"]
    patch_vary_headers(response, ["HX-Request"])
    return response


def canonical(body: object) -> str:
    """Return `body` as JSON with sorted keys and no spaces: the form under every digest and ETag."""
    return json.dumps(body, cls=DjangoJSONEncoder, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(body: object) -> str:
    """Return "sha256:…" over the canonical JSON of `body`."""
    return "sha256:" + hashlib.sha256(canonical(body).encode()).hexdigest()


def etag(body: object) -> str:
    """Return the strong ETag of a representation."""
    return f'"{hashlib.sha256(canonical(body).encode()).hexdigest()[:32]}"'


def require_match(request: HttpRequest, body: object) -> None:
    """Compare If-Match with the object as it stands now.

    Raises PreconditionRequired without the header and PreconditionFailed when it names another version.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise PreconditionRequired(
            "Send If-Match with the ETag of the object that you read, so that nobody's change is lost."
        )
    if header != "*" and etag(body) not in {tag.strip().removeprefix("W/") for tag in header.split(",")}:
        raise PreconditionFailed("The object has changed since you read it. Read it again and repeat the change.")


def uuid_or_none(text: str) -> uuid.UUID | None:
    """Return the id that a text names, None where it names none: it may be anybody's."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def clean_text(value: object, *, field: str, low: int = 0, high: int, lines: bool = False) -> str:
    """Return `value` trimmed and normalised (NFC), after checking its length in characters and that no control
    character is in it.

    `lines` allows line breaks and tabs. Raises Invalid naming the field, the limit and the fix.
    """
    if not isinstance(value, str):
        raise Invalid.field(field, f"{field} must be text.")
    if len(value) > 4 * high + 64:  # never normalise megabytes
        raise Invalid.field(field, f"{field} has {len(value):,} characters; the limit is {high:,}. Shorten it.")
    text = unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    allowed = "\n\t" if lines else ""
    if any(unicodedata.category(char) in {"Cc", "Cs", "Co", "Cn"} and char not in allowed for char in text):
        raise Invalid.field(field, f"{field} holds a control character. Remove it and send the text again.")
    if len(text) < low:
        raise Invalid.field(field, f"{field} needs at least {low} character{'s' if low > 1 else ''}.")
    if len(text) > high:
        raise Invalid.field(field, f"{field} has {len(text):,} characters; the limit is {high:,}. Shorten it.")
    return text


@dataclass(frozen=True)
class FormProblem:
    """Why a form was refused: sentences by the names of its fields ("": by none), and what was typed."""

    status: int
    sentence: str
    fields: Mapping[str, str]
    typed: Mapping[str, str]

    def errors(self, label: Callable[[str], str]) -> list[dict[str, str]]:
        """Return the lines of the error summary; `label` says what the link to a field is called."""
        found = [{"field": name, "message": words, "label": label(name)} for name, words in self.fields.items()]
        return found or [{"field": "", "message": self.sentence}]


def typed_number(text: str) -> int | str | None:
    """Return a number as people type it into a form, with or without separators, None for nothing; what is none stays
    text, for the service to refuse.
    """
    plain = text.strip().replace(",", "").replace("_", "").replace("\u00a0", "").replace(" ", "")
    if not plain:
        return None
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 30 else plain[:40]


def clean_limit(limit: int | None) -> int:
    """Return the page size, 1 to 200, default 50; raises Invalid otherwise."""
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid.field("limit", f"limit is {limit}; it must lie between 1 and {MAX_LIMIT}.")
    return limit


def _encode(values: list[object]) -> str:
    return base64.urlsafe_b64encode(canonical(values).encode()).decode().rstrip("=")


def _field(model: type[Model], name: str) -> "Field[Any, Any]":
    field = model._meta.get_field(name)
    if not isinstance(field, Field):
        raise FieldDoesNotExist(name)
    return field


def _decode(cursor: str, model: type[Model], names: list[str]) -> list[object]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(names):
            raise ValueError("shape")
        # Only what _encode writes. A lone surrogate fails to encode, which is a ValueError too.
        if any(type(value) not in {str, int} or b"\0" in str(value).encode() for value in values):
            raise ValueError("no column holds that")
        found = [_field(model, name).to_python(value) for name, value in zip(names, values, strict=True)]
        # No database can compare with a time that falls out of the calendar in UTC.
        return [value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value for value in found]
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError, FieldDoesNotExist) as error:
        raise Invalid.field(
            "cursor", "cursor is not one that this list has given out. Start again without it."
        ) from error


def _plain(value: object) -> object:
    return str(value) if isinstance(value, uuid.UUID | dt.datetime | dt.date) else value


def cursor_page(
    queryset: QuerySet[Any], *, limit: int | None, cursor: str | None, order: tuple[str, ...]
) -> tuple[list[Any], str | None]:
    """Return one page of `queryset` by keyset and the cursor of the next one, or None at the end.

    `order` names columns of the model, "-" for descending; the last one must be unique and none may be null, so that
    no row is
    skipped or shown twice while others are added. Raises Invalid for a bad limit or cursor.
    """
    size = clean_limit(limit)
    names = [field.lstrip("-") for field in order]
    if cursor:
        values = _decode(cursor, queryset.model, names)
        condition = Q()
        for index, field in enumerate(order):
            step = Q(**{f"{names[index]}__{'lt' if field.startswith('-') else 'gt'}": values[index]})
            for before in range(index):
                step &= Q(**{names[before]: values[before]})
            condition |= step
        queryset = queryset.filter(condition)
    rows = list(queryset.order_by(*order)[: size + 1])
    if len(rows) <= size:
        return rows, None
    last = rows[size - 1]
    return rows[:size], _encode([_plain(getattr(last, name)) for name in names])


_SENTENCES = {
    "missing": "{field} is missing. Add it.",
    "extra_forbidden": "{field} is not a field of this request. Remove it or check its spelling.",
    "less_than_equal": "{field} is {input}; the limit is {le}. Choose a smaller value.",
    "less_than": "{field} is {input}; it must be below {lt}.",
    "greater_than_equal": "{field} is {input}; the least is {ge}. Choose a larger value.",
    "greater_than": "{field} is {input}; it must be above {gt}.",
    "string_too_long": "{field} is too long; the limit is {max_length} characters. Shorten it.",
    "string_too_short": "{field} needs at least {min_length} characters.",
    "too_long": "{field} has too many entries; the limit is {max_length}.",
    "too_short": "{field} needs at least {min_length} entries.",
    "string_type": "{field} must be text.",
    "int_type": "{field} must be a whole number.",
    "int_parsing": "{field} is {input}; it must be a whole number.",
    "int_from_float": "{field} is {input}; it must be a whole number.",
    "int_parsing_size": "{field} is far too large. Choose a smaller value.",
    "bool_type": "{field} must be true or false.",
    "bool_parsing": "{field} must be true or false.",
    "literal_error": "{field} is {input}; choose one of {expected}.",
    "enum": "{field} is {input}; choose one of {expected}.",
    "date_from_datetime_parsing": "{field} is {input}; write a date as YYYY-MM-DD.",
    "date_parsing": "{field} is {input}; write a date as YYYY-MM-DD.",
    "date_type": "{field} must be a date, written as YYYY-MM-DD.",
    "list_type": "{field} must be a list.",
    "dict_type": "{field} must be an object.",
    "model_attributes_type": "{field} must be a JSON object.",
}


def field_errors(details: Iterable[Mapping[str, Any]]) -> Invalid:
    """Turn pydantic's error details into one Invalid whose sentences name field, limit and fix."""
    fields: dict[str, str] = {}
    for detail in details:
        place = [str(step) for step in detail.get("loc", ()) if step not in {"body", "query", "path", "payload"}]
        name = ".".join(place)[:60] or "body"
        shown = repr(detail.get("input"))
        shown = shown if len(shown) <= 60 else shown[:57] + "…"
        values = {**detail.get("ctx", {}), "field": name, "input": shown}
        template = _SENTENCES.get(str(detail.get("type")), "")
        if "input" not in detail:  # the framework leaves out what was sent to an operation
            template = template.replace("{field} is {input}; ", "{field}: ")
        sentence = template.format(**values) if template else f"{name}: {str(detail.get('msg', 'not valid'))[:200]}."
        fields.setdefault(name, sentence)
    return Invalid.several(fields) if fields else Invalid("The request is not valid.")
