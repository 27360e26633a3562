"""The prefix cache: which leading blocks of a prompt were computed before, as vLLM's automatic prefix caching counts
them."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

BLOCK = 16


class PrefixCache:
    """The most recently used blocks of 16 tokens, each known by the hash of everything up to its end."""

    def __init__(self, blocks: int = 8192) -> None:
        self._limit = blocks
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def match(self, tokens: Sequence[str]) -> int:
        """Return how many leading tokens are cached; the last token is always computed, so a full hit stays below the
        length."""
        hits = 0
        for block in self._chain(tokens[: len(tokens) - 1]):
            if block not in self._blocks:
                break
            self._blocks.move_to_end(block)
            hits += BLOCK
        return hits

    def add(self, tokens: Sequence[str]) -> None:
        """Remember the full blocks of `tokens`; the oldest ones make room."""
        for block in self._chain(tokens):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._limit:
            self._blocks.popitem(last=False)

    @staticmethod
    def _chain(tokens: Sequence[str]) -> Iterator[int]:
        previous = 0
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            previous = hash((previous, *tokens[start : start + BLOCK]))
            yield previous
