"""Reading requests: OpenAI's fields with vLLM's limits. Whatever is wrong becomes one sentence that names the field,
the limit and the fix."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.engines.demo import tokens
from endpoints.engines.demo.model import Sampling

MAX_BODY = 4 * 1024 * 1024
MAX_INPUTS = 2048
MAX_STOPS = 16
ROLES = ("system", "developer", "user", "assistant", "tool")


class BadRequest(Exception):
    """The request cannot be served; `status` and the sentence go to the client in OpenAI's error shape."""

    def __init__(
        self, sentence: str, param: str | None = None, status: int = 400, kind: str = "BadRequestError"
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.body = {"error": {"message": sentence, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True)
class Generation:
    """One call to generate text, with all defaults filled in."""

    chat: bool
    prompt: tuple[str, ...]
    topic: tuple[str, ...]
    max_tokens: int
    min_tokens: int
    sampling: Sampling
    seed: int | None
    stop: tuple[str, ...]
    ignore_eos: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool


@dataclass(frozen=True)
class Embedding:
    """One call to embed texts."""

    inputs: tuple[tuple[str, ...], ...]
    dimensions: int
    base64: bool


def read_json(body: bytes) -> dict[str, Any]:
    """Return the body as an object; raises BadRequest when it is not one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {type(error).__name__}. Send one JSON object.") from None
    if not isinstance(value, dict):
        raise BadRequest("The body is not a JSON object. Send one JSON object.")
    return value


def check_model(body: Mapping[str, Any], served: str) -> None:
    """Raise BadRequest (404) when another model than the served one is asked for; an absent name means the served
    one."""
    name = body.get("model")
    if name is not None and not isinstance(name, str):
        raise BadRequest("`model` must be a string.", "model")
    if name and name != served:
        raise BadRequest(f"The model `{name[:200]}` does not exist.", "model", 404, "NotFoundError")


def read_generation(body: Mapping[str, Any], *, chat: bool, max_model_len: int) -> Generation:
    """Return the call for /v1/chat/completions (`chat`) or /v1/completions; `max_model_len` counts prompt and answer
    together, in tokens.

    Raises BadRequest for a missing or wrong field and for a prompt that leaves no room in the context.
    """
    prompt, topic = _chat_prompt(body) if chat else _text_prompt(body)
    room = max_model_len - len(prompt)
    if room < 1:
        raise BadRequest(
            f"This model's maximum context length is {max_model_len} tokens, but the prompt has {len(prompt)}. "
            "Shorten the prompt.",
            "messages" if chat else "prompt",
        )
    name = "max_completion_tokens" if chat and body.get("max_completion_tokens") is not None else "max_tokens"
    wanted = _integer(body, name, room if chat else min(16, room), 1, 10**9)
    if wanted > room:
        raise BadRequest(
            f"`{name}` is {wanted}, but only {room} tokens are left: the context has {max_model_len} "
            f"and the prompt {len(prompt)}. Ask for at most {room}.",
            name,
        )
    _refuse(body)
    stream = _flag(body, "stream")
    options = _options(body, stream)
    return Generation(
        chat=chat,
        prompt=tuple(prompt),
        topic=tuple(topic),
        max_tokens=wanted,
        min_tokens=_integer(body, "min_tokens", 0, 0, wanted),
        sampling=Sampling(
            _number(body, "temperature", 1.0, 0.0, 2.0), _number(body, "top_p", 1.0, 0.0, 1.0), _top_k(body)
        ),
        seed=_integer(body, "seed", 0, -(2**63), 2**63 - 1) if body.get("seed") is not None else None,
        stop=_stops(body),
        ignore_eos=_flag(body, "ignore_eos"),
        stream=stream,
        include_usage=_flag(options, "include_usage"),
        continuous_usage=_flag(options, "include_usage") and _flag(options, "continuous_usage_stats"),
    )


def read_embedding(body: Mapping[str, Any], *, dimensions: int, max_model_len: int) -> Embedding:
    """Return the call for /v1/embeddings; raises BadRequest for wrong fields and for an input longer than the
    context."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            "`input` must be a string or a list of strings; lists of token numbers are not supported.", "input"
        )
    if len(texts) > MAX_INPUTS:
        raise BadRequest(
            f"`input` has {len(texts)} texts; at most {MAX_INPUTS} are possible. Send several requests.", "input"
        )
    inputs = tuple(tuple(tokens.split(text)) for text in texts)
    longest = max(map(len, inputs))
    if longest > max_model_len:
        raise BadRequest(
            f"This model's maximum context length is {max_model_len} tokens, but an input has {longest}. Shorten it.",
            "input",
        )
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise BadRequest('`encoding_format` must be "float" or "base64".', "encoding_format")
    return Embedding(inputs, _integer(body, "dimensions", dimensions, 1, dimensions), encoding == "base64")


def _chat_prompt(body: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the prompt tokens and the tokens of the last user message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list with at least one message.", "messages")
    read: list[dict[str, str]] = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise BadRequest(
                f"`messages[{number}]` must be an object whose role is one of {', '.join(ROLES)}.", "messages"
            )
        read.append({"role": message["role"], "content": _content(message.get("content"), number)})
    asked = next((message["content"] for message in reversed(read) if message["role"] == "user"), read[-1]["content"])
    return tokens.render_chat(read), tokens.split(asked) or [""]


def _content(content: object, number: int) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            f"`messages[{number}].content` must be a string or a list of text parts; this is a text model.", "messages"
        )
    return "\n".join(map(str, texts))


def _text_prompt(body: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise BadRequest(
            "`prompt` must be a string of at least one character; several prompts need several requests.", "prompt"
        )
    return tokens.split(prompt), []


def _refuse(body: Mapping[str, Any]) -> None:
    """Refuse what would otherwise be ignored in silence and change the meaning of the answer."""
    for name in ("n", "best_of"):
        if _integer(body, name, 1, 1, 128) != 1:
            raise BadRequest(f"`{name}` must be 1: the demo engine gives one answer per request.", name)
    if body.get("tools") and body.get("tool_choice") != "none":
        raise BadRequest("`tools` is not supported by the demo engine. Leave it out.", "tools")
    for name in ("logprobs", "top_logprobs", "prompt_logprobs", "echo", "suffix"):
        if body.get(name):
            raise BadRequest(f"`{name}` is not supported by the demo engine. Leave it out.", name)
    wanted = body.get("response_format")
    if wanted is not None and (not isinstance(wanted, dict) or wanted.get("type") != "text"):
        raise BadRequest(
            '`response_format` must be {"type": "text"}: the demo engine has no guided output.', "response_format"
        )


def _options(body: Mapping[str, Any], stream: bool) -> Mapping[str, Any]:
    options = body.get("stream_options")
    if options is None:
        return {}
    if not isinstance(options, dict) or not stream:
        raise BadRequest("`stream_options` must be an object and needs `stream: true`.", "stream_options")
    return options


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    given = body.get("stop")
    stops = [given] if isinstance(given, str) else given or []
    if (
        not isinstance(stops, list)
        or not all(isinstance(stop, str) and stop for stop in stops)
        or len(stops) > MAX_STOPS
    ):
        raise BadRequest(
            f"`stop` must be a string or a list of at most {MAX_STOPS} strings, none of them empty.", "stop"
        )
    return tuple(stops)


def _top_k(body: Mapping[str, Any]) -> int:
    """Return `top_k`, where 0 and -1 both mean all words, as in vLLM."""
    return max(_integer(body, "top_k", 0, -1, 10**9), 0)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"`{name}` must be true or false.", name)
    return bool(value)


def _integer(body: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadRequest(f"`{name}` must be a whole number from {low} to {high}.", name)
    return value


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise BadRequest(f"`{name}` must be a number from {low:g} to {high:g}.", name)
    return float(value)
