"""Does it fit? GPU memory of a served model, as pure arithmetic.

Formulas: weights = parameters × bytes per parameter. KV cache = 2 (keys and values) × layers × KV heads × head
dimension × bytes per element, per token, × context × concurrent calls: the size of the tensors that grouped-query
attention keeps (Ainslie et al. 2023, arXiv:2305.13245), as engines with a paged cache allocate it (Kwon et al. 2023,
arXiv:2309.06180). Overhead, 10 % of both, is this portal's own allowance for activations and buffers. The limit is the
memory of all accelerators × the share that the engine may take.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar

OVERHEAD_PERCENT = 10
DEFAULT_CONTEXT, DEFAULT_CONCURRENCY = 4096, 8  # what pages assume before anybody has chosen
_GIB, _KIB = 2**30, 2**10


class Hardware(Protocol):
    """What the arithmetic reads of a hardware profile."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of one accelerator, or of the machine where there is none."""

    @property
    def accelerator_count(self) -> int:
        """How many accelerators one replica gets; 0 = none."""


AnyHardware = TypeVar("AnyHardware", bound=Hardware)


@dataclass(frozen=True)
class MemoryPlan:
    """What one replica takes against what its hardware gives; sizes in bytes. `fits` is about memory, `problems` about
    the question.
    """

    weights: int
    kv_cache: int
    overhead: int
    needed: int
    limit: int
    fits: bool
    spare: int  # negative when it does not fit
    context_tokens: int
    concurrency: int
    kv_per_token: int
    weights_formula: str
    kv_formula: str
    overhead_formula: str
    limit_formula: str
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it fits and the question itself was sound."""
        return self.fits and not self.problems

    @property
    def share_percent(self) -> int:
        """Needed as per cent of the limit, rounded up."""
        return -(-self.needed * 100 // self.limit)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, for a frozen plan or an API answer."""
        return asdict(self)


def kv_per_token(needs: Mapping[str, Any]) -> int:
    """Return the bytes of KV cache that one token of one call takes; 0 for an encoder, which keeps none.

    `needs` as in catalog/specs.py: Needs. Layers with a sliding window are counted in full: an upper bound.
    """
    if needs.get("embedding"):
        return 0
    elements = 2 * int(needs["layers"]) * int(needs["kv_heads"]) * int(needs["head_dim"])
    return int(elements * Decimal(str(needs.get("kv_bytes", 2))))


def memory(
    needs: Mapping[str, Any], profile: Hardware, context_tokens: int, concurrency: int, utilisation: float
) -> MemoryPlan:
    """Return the memory plan of one replica.

    `needs` as in catalog/specs.py: Needs; `context_tokens` per call; `concurrency` calls at the same time;
    `utilisation` the share (0 to 1] of the memory that the engine may take. Never raises for a question that does not
    fit: it stands in `fits` and `problems`.
    """
    each = Decimal(str(needs["bytes_per_parameter"]))
    weights = int(Decimal(int(needs["parameters"])) * each)
    per_token = kv_per_token(needs)
    kv_cache = per_token * context_tokens * concurrency
    overhead = -(-(weights + kv_cache) * OVERHEAD_PERCENT // 100)
    needed = weights + kv_cache + overhead
    count = max(profile.accelerator_count, 1)
    limit = int(Decimal(profile.memory_bytes) * count * Decimal(str(utilisation)))
    dtype = needs.get("dtype") or ""
    return MemoryPlan(
        weights=weights,
        kv_cache=kv_cache,
        overhead=overhead,
        needed=needed,
        limit=limit,
        fits=needed <= limit,
        spare=limit - needed,
        context_tokens=context_tokens,
        concurrency=concurrency,
        kv_per_token=per_token,
        weights_formula=f"{parameters_text(int(needs['parameters']))} × {_plain(each)} bytes"
        + (f" ({dtype})" if dtype else ""),
        kv_formula=f"{_kib(per_token)} × {context_tokens:,} × {concurrency:,} calls" if per_token else "none (encoder)",
        overhead_formula=f"{OVERHEAD_PERCENT} % of weights and KV cache",
        limit_formula=f"{count} × {_gib(profile.memory_bytes)} × {_plain(Decimal(str(utilisation)) * 100)} %",
        notes=tuple(_notes(needs, per_token)),
        problems=tuple(_problems(needs, context_tokens, concurrency)),
    )


def profiles_that_fit(
    needs: Mapping[str, Any],
    profiles: Iterable[AnyHardware],
    context_tokens: int,
    concurrency: int,
    utilisation: float,
) -> list[tuple[AnyHardware, MemoryPlan]]:
    """Return the profiles on which a replica fits, each with its plan, in the order given. Arguments as in `memory`."""
    plans = ((item, memory(needs, item, context_tokens, concurrency, utilisation)) for item in profiles)
    return [(item, plan) for item, plan in plans if plan.ok]


def parameters_text(count: int) -> str:
    """Return a parameter count as people say it: 8.17 B, 33.4 M."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= size:
            value = f"{count / size:.3g}"
            return f"{float(value):.2f} {unit}" if float(value) < 10 else f"{float(value):.1f} {unit}"
    return f"{count:,}"


def _notes(needs: Mapping[str, Any], per_token: int) -> Iterable[str]:
    if needs.get("embedding"):
        yield "An encoder keeps no key/value cache: calls add only to the overhead."
    sliding, layers = int(needs.get("sliding_layers") or 0), int(needs["layers"])
    if sliding and per_token:
        growing = per_token * (layers - sliding) // layers
        yield (
            f"{sliding} of {layers} layers keep only the last {int(needs['sliding_window']):,} tokens but are counted "
            f"in full, so the KV cache is an upper bound: {_kib(growing)} of {_kib(per_token)} per token really grow "
            "with the context."
        )


def _problems(needs: Mapping[str, Any], context_tokens: int, concurrency: int) -> Iterable[str]:
    most = int(needs["max_context_tokens"])
    if context_tokens > most:
        yield f"context_tokens is {context_tokens:,}; this model takes at most {most:,}. Ask for {most:,} or fewer."
    if context_tokens < 1 or concurrency < 1:
        yield "context_tokens and concurrency must be at least 1."


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"  # 2.00 → 2, and never 9E+1


def _kib(size: int) -> str:
    return f"{size / _KIB:g} KiB"


def _gib(size: int) -> str:
    return f"{size / _GIB:.4g} GiB"
