"""The memory arithmetic against numbers worked out by hand."""

from dataclasses import dataclass

import pytest

from catalog import fit

GIB = 2**30
# IBM Granite 3.3 8B: 8,170,864,640 parameters, 40 layers, 8 KV heads of 128.
GRANITE_8B = {
    "parameters": 8_170_864_640, "bytes_per_parameter": 2, "dtype": "bf16", "layers": 40, "kv_heads": 8,
    "head_dim": 128, "kv_bytes": 2, "max_context_tokens": 131_072, "embedding": False,
}  # fmt: skip
GRANITE_2B = GRANITE_8B | {"parameters": 2_533_539_840, "head_dim": 64}


@dataclass(frozen=True)
class Card:
    memory_bytes: int
    accelerator_count: int
    name: str = ""


def test_it_works_for_a_dense_model():
    plan = fit.memory(GRANITE_8B, Card(48_305_799_168, 1), 16_384, 8, 0.9)
    assert plan.weights == 16_341_729_280
    assert plan.kv_per_token == 163_840  # 2 × 40 × 8 × 128 × 2
    assert plan.kv_cache == 21_474_836_480  # 163,840 × 16,384 × 8
    assert plan.overhead == 3_781_656_576  # a tenth of both
    assert plan.needed == 41_598_222_336
    assert plan.limit == 43_475_219_251  # 48,305,799,168 × 0.9, rounded down
    assert plan.fits and plan.ok
    assert plan.spare == 1_876_996_915
    assert plan.share_percent == 96


def test_arithmetic_is_written_out():
    plan = fit.memory(GRANITE_8B, Card(48_305_799_168, 2), 16_384, 8, 0.9)
    assert plan.weights_formula == "8.17 B × 2 bytes (bf16)"
    assert plan.kv_formula == "160 KiB × 16,384 × 8 calls"
    assert plan.overhead_formula == "10 % of weights and KV cache"
    assert plan.limit_formula == "2 × 44.99 GiB × 90 %"


def test_accelerators_add_up_and_none_means_the_machine():
    one, two = (fit.memory(GRANITE_8B, Card(80 * GIB, count), 4096, 8, 0.5).limit for count in (1, 2))
    assert (one, two) == (40 * GIB, 80 * GIB)
    assert fit.memory(GRANITE_8B, Card(80 * GIB, 0), 4096, 8, 0.5).limit == 40 * GIB


def test_the_demo_profile_runs_the_small_granite():
    plan = fit.memory(GRANITE_2B, Card(16 * GIB, 0), 4096, 8, 0.9)
    assert plan.weights + plan.kv_cache == 5_067_079_680 + 2_684_354_560
    assert plan.needed == 8_526_577_664
    assert plan.fits
    assert not fit.memory(GRANITE_2B, Card(8 * GIB, 0), 4096, 8, 0.9).fits


def test_exactly_full_fits_and_one_byte_less_does_not():
    needed = fit.memory(GRANITE_2B, Card(1, 0), 4096, 8, 1).needed
    assert fit.memory(GRANITE_2B, Card(needed, 0), 4096, 8, 1).spare == 0
    assert fit.memory(GRANITE_2B, Card(needed, 0), 4096, 8, 1).fits
    below = fit.memory(GRANITE_2B, Card(needed - 1, 0), 4096, 8, 1)
    assert not below.fits and below.spare == -1


def test_an_encoder_keeps_no_kv_cache():
    encoder = {
        "parameters": 33_360_000, "bytes_per_parameter": 4, "dtype": "fp32", "layers": 12, "kv_heads": 12,
        "head_dim": 32, "max_context_tokens": 512, "embedding": True,
    }  # fmt: skip
    plan = fit.memory(encoder, Card(GIB, 0), 512, 1000, 0.9)
    assert plan.kv_cache == 0 and plan.weights == 133_440_000 and plan.overhead == 13_344_000
    assert "encoder" in plan.kv_formula and "encoder" in plan.notes[0]


def test_sliding_layers_are_an_upper_bound_and_say_so():
    gpt_oss = {
        "parameters": 21_000_000_000, "bytes_per_parameter": 0.663, "dtype": "mxfp4 and bf16", "layers": 24,
        "kv_heads": 8, "head_dim": 64, "kv_bytes": 2,
        "max_context_tokens": 131_072, "sliding_layers": 12, "sliding_window": 128,
    }  # fmt: skip
    plan = fit.memory(gpt_oss, Card(24 * GIB, 1), 8192, 1, 0.9)
    assert plan.weights == 13_923_000_000
    assert plan.kv_per_token == 49_152
    assert "12 of 24 layers" in plan.notes[0] and "24 KiB of 48 KiB" in plan.notes[0]


def test_a_context_beyond_the_model_is_a_problem_whatever_the_memory():
    plan = fit.memory(GRANITE_2B, Card(10_000 * GIB, 1), 131_073, 1, 0.9)
    assert plan.fits and not plan.ok
    assert plan.problems == ("context_tokens is 131,073; this model takes at most 131,072. Ask for 131,072 or fewer.",)


@pytest.mark.parametrize(("context", "calls"), [(0, 1), (-1, 1), (1, 0)])
def test_nothing_asked_is_a_problem(context, calls):
    assert fit.memory(GRANITE_2B, Card(80 * GIB, 1), context, calls, 0.9).problems


def test_profiles_that_fit_keep_their_order():
    cards = [Card(80 * GIB, 1, "large"), Card(8 * GIB, 1, "small"), Card(24 * GIB, 1, "medium")]
    fitting = fit.profiles_that_fit(GRANITE_8B, cards, 4096, 1, 0.9)
    assert [card.name for card, _ in fitting] == ["large", "medium"]
    assert all(plan.ok for _, plan in fitting)


@pytest.mark.parametrize(
    ("count", "text"),
    [(8_170_864_640, "8.17 B"), (24_000_000_000, "24.0 B"), (33_360_000, "33.4 M"), (999, "999"), (10**12, "1.00 T")],
)
def test_parameters_as_people_say_them(count, text):
    assert fit.parameters_text(count) == text


def test_a_plan_is_plain_data():
    plan = fit.memory(GRANITE_2B, Card(16 * GIB, 0), 4096, 8, 0.9)
    assert plan.as_dict()["needed"] == plan.needed
