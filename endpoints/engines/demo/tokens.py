"""The tokenizer: words, numbers and punctuation with their leading space. Joining the pieces gives the text back,
letter for letter."""

import re
from collections.abc import Iterable, Mapping

_PIECE = re.compile(r" ?[^\W\d_]{1,12}| ?\d{1,3}| ?(?:[^\w\s]|_){1,4}|\s{1,16}|.", re.DOTALL)
BEGIN, END = "<|begin|>", "<|end|>"


def split(text: str) -> list[str]:
    """Return the tokens of `text`; `"".join(split(text)) == text` for every text."""
    return _PIECE.findall(text)


def render_chat(messages: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the prompt tokens of a chat: one marker per role and per end, so that text in a message cannot forge a
    marker."""
    tokens = [BEGIN]
    for message in messages:
        tokens += [f"<|{message['role']}|>", *split(message["content"]), END]
    return [*tokens, "<|assistant|>"]
