"""The body of a call: read within bounds, checked as far as routing needs it, rewritten for the engine."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, NoReturn

from endpoints.gateways.builtin.deadline import Deadline
from endpoints.gateways.builtin.errors import Refusal, invalid
from endpoints.gateways.builtin.records import KeyRecord

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 60.0
MAX_MODEL_LENGTH = 200
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
MOST_OUTPUT, MOST_CHOICES = 1_000_000, 128  # of what a call asks for, as far as it is counted while it runs
BYTES_PER_TOKEN = 4  # of English text, for calls whose engine never said


class ClientGone(Exception):
    """The client hung up."""


@dataclass(slots=True)
class Body:
    """A parsed body: the document, the model as it was asked for, whether to stream, and the size that estimates its
    tokens.
    """

    document: dict[str, Any]
    model: str
    stream: bool
    size: int

    @property
    def estimated_tokens(self) -> int:
        """Tokens of the prompt by its size, at least one."""
        return max(1, self.size // BYTES_PER_TOKEN)

    def estimated_output(self, context_tokens: int | None) -> int:
        """Return the most tokens that the answer may have: what the call allows, for each choice it asks for, within
        the context of the engine. 0 when it does not say.
        """
        names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        given = [_positive(self.document.get(name), MOST_OUTPUT) for name in names]
        asked = next((number for number in given if number), 0)
        choices = max(1, _positive(self.document.get("n"), MOST_CHOICES))
        return min(asked, context_tokens or MOST_OUTPUT) * choices

    def endpoint_name(self, key: KeyRecord) -> str:
        """Return the name by which the key's project knows the endpoint: the full one when it is another project's."""
        project, slash, name = self.model.partition("/")
        return name if slash and project == key.project else self.model

    def for_engine(self, served_name: str, operation: str) -> tuple[bytes, bool]:
        """Return the bytes for the engine, and whether the usage chunk was added by the gateway and must be stripped
        again.
        """
        document = {**self.document, "model": served_name}
        strip = False
        if self.stream and operation in {"chat", "completions"}:
            options = document.get("stream_options") or {}
            strip = not options.get("include_usage")
            document["stream_options"] = {**options, "include_usage": True}
        try:
            return _ENCODER.encode(document).encode(), strip
        except (ValueError, RecursionError) as error:
            raise invalid("The body holds a number that JSON cannot carry, such as 1e999.") from error


async def read(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body of a request.

    Raises Refusal when it is too large, too slow or encoded, ClientGone when it breaks off.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
            raise _too_large()
        if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise Refusal(415, "unsupported_encoding", "Send the body uncompressed, without a Content-Encoding.")
    parts, size = [], 0
    try:
        with Deadline(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as error:
        raise Refusal(408, "request_timeout", f"The body did not arrive within {BODY_SECONDS:g} s.") from error


def parse(raw: bytes) -> Body:
    """Return the checked body.

    Raises Refusal naming the field; everything the gateway does not need is the engine's to judge.
    """
    try:
        document = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid("The body is not valid JSON in UTF-8.") from error
    if not isinstance(document, dict):
        raise invalid("The body must be a JSON object.")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise invalid('model must name an endpoint, for example "my-project/my-endpoint".', param="model")
    if len(model) > MAX_MODEL_LENGTH:
        raise invalid(f"model is longer than {MAX_MODEL_LENGTH} characters.", param="model")
    stream = document.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise invalid("stream must be true or false.", param="stream")
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise invalid("stream_options must be an object.", param="stream_options")
    if options is not None and not isinstance(options.get("include_usage", False), bool | None):
        raise invalid("stream_options.include_usage must be true or false.", param="stream_options")
    return Body(document, model, bool(stream), len(raw))


def _positive(value: object, most: int) -> int:
    """Return a whole number of a body within 0 and `most`; whatever else stands there is the engine's to judge."""
    return min(max(0, value), most) if isinstance(value, int) and not isinstance(value, bool) else 0


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_large() -> Refusal:
    return Refusal(413, "request_too_large", f"The body is larger than {MAX_BODY_BYTES // 1024**2} MiB; send less.")
