"""The language model: order-4 back-off over one sorted array, so that a start costs milliseconds and a few hundred
kilobytes.

Each position of the corpus is stored once, as an integer of `last | last but one | last but two | position`. All
continuations of a context are then neighbours, and a shorter context is a wider range of the same array: backing off
is a second binary search, not a second table.
"""

import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from endpoints.engines.demo.tokens import split

ORDER = 4
_WORD, _PLACE = 14, 20  # bits of a token id and of a position
_MASK = (1 << _PLACE) - 1
_DROP = 0.15  # chance to prefer a shorter context at temperature 1: without it a small corpus is only recited
_WIDEST = 512  # continuations looked at for one token; wider ranges are thinned evenly
BREAK = "\n\n"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: temperature 0 is the most frequent one; `top_k` 0 means all."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


class Model:
    """Counts of what follows what in one text. Read-only after construction, so all requests share it."""

    def __init__(self, text: str) -> None:
        paragraphs = (" ".join(block.split()) for block in text.split(BREAK))
        pieces = split(BREAK.join(paragraph for paragraph in paragraphs if paragraph))
        ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
        if not pieces or len(ids) >= 1 << _WORD or len(pieces) >= 1 << _PLACE:
            raise ValueError(
                f"The corpus has {len(pieces)} tokens and {len(ids)} words; 1 to 1048575 and 16383 are possible"
            )
        self._ids = ids
        self._words = list(ids)
        self._stream = array("H", (ids[piece] for piece in pieces))
        self._index = array("Q", sorted(self._keys()))
        self._break = ids.get(BREAK, -1)
        self._openings = [0, *(at + 1 for at, word in enumerate(self._stream) if word == self._break)]
        self._ends = {ids[piece] for piece in (".", "?", "!", BREAK) if piece in ids}

    def __len__(self) -> int:
        return len(self._stream)

    def generate(
        self,
        prompt: Sequence[str],
        topic: Sequence[str],
        sampling: Sampling,
        rng: random.Random,
        *,
        endless: bool = False,
    ) -> Iterator[str]:
        """Yield tokens until a paragraph ends.

        Arguments: `prompt`, whose last tokens are continued when there is no `topic`; `topic`, words of which the
        rarest known one picks the sentence to begin with; `endless` goes on after the end of a paragraph. A position
        of the corpus is followed at most once per call, which is why a greedy generation cannot circle for ever.
        """
        used: set[int] = set()
        recent = [self._ids.get(token, -1) for token in prompt[-(ORDER - 1) :]]
        at: int | None = self._opening(topic, sampling, rng) if topic else self._next(recent, used, sampling, rng)
        while at is not None:
            used.add(at)
            word = self._stream[at]
            if word == self._break and not endless:
                return
            yield self._words[word]
            recent = [*recent[-(ORDER - 2) :], word]
            at = self._next(recent, used, sampling, rng)

    def _keys(self) -> Iterator[int]:
        stream = self._stream
        for at in range(1, len(stream)):
            first = stream[at - 3] if at > 2 else 0
            second = stream[at - 2] if at > 1 else 0
            yield (((stream[at - 1] << _WORD | second) << _WORD | first) << _PLACE) | at

    def _range(self, context: Sequence[int]) -> tuple[int, int]:
        """Return the slice of the index that continues `context` (its last one to three tokens)."""
        key, free = 0, (ORDER - 1) * _WORD + _PLACE
        for word in reversed(context):
            key, free = key << _WORD | word, free - _WORD
        return bisect_left(self._index, key << free), bisect_left(self._index, (key + 1) << free)

    def _next(self, recent: Sequence[int], used: set[int], sampling: Sampling, rng: random.Random) -> int | None:
        known = [word for word in recent if word >= 0]
        for length in range(min(len(known), ORDER - 1), 0, -1):
            if length > 1 and rng.random() < _DROP * min(sampling.temperature, 1.0):
                continue
            place = self._pick(*self._range(known[-length:]), used, sampling, rng)
            if place is not None:
                return place
        fresh = [opening for opening in self._openings if opening not in used]
        if not fresh:
            return None
        return rng.choice(fresh) if sampling.temperature else fresh[0]

    def _pick(self, low: int, high: int, used: set[int], sampling: Sampling, rng: random.Random) -> int | None:
        step = (high - low) // _WIDEST + 1
        places = [key & _MASK for key in self._index[low:high:step] if key & _MASK not in used]
        if len(places) < 2:
            return places[0] if places else None
        ranked = Counter(self._stream[place] for place in places).most_common(sampling.top_k or None)
        word = ranked[0][0] if sampling.temperature == 0 else _draw(ranked, sampling, rng)
        return next(place for place in places if self._stream[place] == word)

    def _opening(self, topic: Sequence[str], sampling: Sampling, rng: random.Random) -> int:
        """Return where a sentence about the topic begins: the rarest known word decides, long before short."""
        found: list[tuple[bool, int, int, int]] = []
        for piece in topic:
            for form in {f" {piece.strip().lower()}", piece.strip().capitalize()} if len(piece.strip()) > 3 else ():
                low, high = self._range([self._ids[form]]) if form in self._ids else (0, 0)
                if low < high:
                    found.append((len(form) < 6, high - low, low, high))
        if not found:
            return rng.choice(self._openings) if sampling.temperature else self._openings[0]
        *_, low, high = min(found)
        at = (self._index[rng.randrange(low, high) if sampling.temperature else low] & _MASK) - 1
        while at > 0 and self._stream[at - 1] not in self._ends:
            at -= 1
        return at


def _draw(ranked: list[tuple[int, int]], sampling: Sampling, rng: random.Random) -> int:
    """Draw by count ** (1 / temperature) from the most likely words that together reach `top_p`."""
    power = 1 / max(sampling.temperature, 0.05)
    top = ranked[0][1]
    weights = [(count / top) ** power for _, count in ranked]
    limit, total, kept = sampling.top_p * sum(weights), 0.0, 0
    while kept < len(weights) and total < limit:
        total += weights[kept]
        kept += 1
    kept = max(kept, 1)
    return rng.choices([word for word, _ in ranked[:kept]], weights[:kept])[0]


def load() -> Model:
    """Return the model of the corpus that ships with the engine."""
    return Model(Path(__file__).with_name("corpus.txt").read_text(encoding="utf-8"))
