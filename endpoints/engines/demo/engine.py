"""The engine behind the protocol: places, prefix cache, pacing and what is counted. It knows tokens and nothing of
HTTP."""

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from time import perf_counter

from endpoints.engines.demo.cache import PrefixCache
from endpoints.engines.demo.metrics import Metrics
from endpoints.engines.demo.model import Model
from endpoints.engines.demo.protocol import Generation


@dataclass(frozen=True)
class Options:
    """How the engine was started; times in seconds, lengths in tokens."""

    model: str
    served_name: str
    task: str = "chat"
    dimensions: int = 384
    load_seconds: float = 0.0
    token_delay: float = 0.005
    ttft: float = 0.0
    max_model_len: int = 4096
    max_num_seqs: int = 256
    fail: str = "none"
    fail_after: float = 0.0
    seed: int = 0
    key: str = field(default="", repr=False)


@dataclass
class Answer:
    """What one generation has come to so far."""

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None

    def usage(self) -> dict[str, object]:
        """Return the usage object of the protocol."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Engine:
    """One loaded model with its places. All of it runs on one event loop, so plain integers are enough."""

    def __init__(self, options: Options, model: Model) -> None:
        self.options = options
        self.model = model
        self.metrics = Metrics(options.served_name)
        self.cache = PrefixCache()
        self._places = asyncio.Semaphore(options.max_num_seqs)
        self._random = random.Random(options.seed)  # noqa: S311 - words, not secrets
        self._held = 0  # tokens of all running requests

    async def generate(self, call: Generation, answer: Answer, gone: Callable[[], bool]) -> AsyncGenerator[str, None]:
        """Yield text as it becomes certain, and keep `answer` true all the time.

        `gone` is asked after each token: a client that went away ends the generation with the reason `abort`, counted
        as such. Text that could still turn out to be the beginning of a stop string is held back.
        """
        started = perf_counter()
        self.metrics.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.metrics.waiting -= 1
        self.metrics.running += 1
        self._hold(len(call.prompt))
        try:
            async for text in self._decode(call, answer, gone, started):
                yield text
        finally:
            self._places.release()
            self.metrics.running -= 1
            self._hold(-len(call.prompt) - answer.completion_tokens)
            # A closed generator (the connection broke while sending) never set a reason.
            self.metrics.success[answer.finish_reason or "abort"] += 1
            self.metrics.e2e.observe(perf_counter() - started)

    async def _decode(
        self, call: Generation, answer: Answer, gone: Callable[[], bool], started: float
    ) -> AsyncGenerator[str, None]:
        answer.cached_tokens = self.cache.match(call.prompt)
        self.metrics.prompt_tokens += answer.prompt_tokens
        self.metrics.cached_tokens += answer.cached_tokens
        self.cache.add(call.prompt)
        if self.options.ttft:
            await asyncio.sleep(self.options.ttft)
        rng = self._random if call.seed is None else random.Random(call.seed)  # noqa: S311
        words = self.model.generate(
            call.prompt, call.topic, call.sampling, rng, endless=call.ignore_eos or call.min_tokens > 0
        )
        text, sent, last = "", 0, started
        made: list[str] = []
        for word in itertools.islice(words, call.max_tokens):
            if self.options.token_delay:
                await asyncio.sleep(self.options.token_delay)
            elif answer.completion_tokens % 32 == 31:
                await asyncio.sleep(0)  # without pacing, others still get their turn
            if gone():
                answer.finish_reason = "abort"
                return
            if word.startswith("\n\n") and not call.ignore_eos and len(made) >= call.min_tokens:
                break
            last = self._count(answer, last)
            made.append(word)
            text += word.lstrip() if call.chat and not text else word
            stop = min((at for at in map(text.find, call.stop) if at >= 0), default=-1)
            if stop >= 0:
                answer.finish_reason = "stop"
                if stop > sent:
                    yield text[sent:stop]
                return
            safe = len(text) - _held_back(text, call.stop)
            if safe > sent:
                yield text[sent:safe]
                sent = safe
        answer.finish_reason = "length" if answer.completion_tokens >= call.max_tokens else "stop"
        self.cache.add([*call.prompt, *made])
        if len(text) > sent:
            yield text[sent:]

    def _count(self, answer: Answer, last: float) -> float:
        now = perf_counter()
        (self.metrics.itl if answer.completion_tokens else self.metrics.ttft).observe(now - last)
        answer.completion_tokens += 1
        self.metrics.generation_tokens += 1
        self._hold(1)
        return now

    def _hold(self, tokens: int) -> None:
        self._held += tokens
        room = self.options.max_model_len * self.options.max_num_seqs
        self.metrics.kv_cache_usage = round(min(self._held / room, 1.0), 6)


def _held_back(text: str, stops: tuple[str, ...]) -> int:
    """Return how many characters at the end of `text` could begin a stop string."""
    for length in range(min(max(map(len, stops), default=1) - 1, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
