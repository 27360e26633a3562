"""The licence check and what must be acknowledged: expressions, exceptions, the table of model licences."""

import re

import pytest
from license_expression import get_spdx_licensing

from catalog.evidence import licence
from catalog.evidence.case import Case
from catalog.evidence.licences import LICENCES
from catalog.models import Asset, Version

LLAMA, GEMMA = "LicenseRef-Llama-3.1-Community", "LicenseRef-Gemma-Terms"


def unread():
    raise AssertionError("nothing is read for it")


def judged(expression: str):
    return licence.check(Case(Version(asset=Asset(), licence=expression), None, unread))


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("Apache-2.0", "pass"),
        ("apache-2.0 or mit", "pass"),
        ("(MIT)", "pass"),
        ("MIT AND (Apache-2.0 OR CC-BY-NC-4.0)", "pass"),
        ("(MIT AND CC-BY-NC-4.0) OR Apache-2.0", "pass"),
        ("MIT AND CC-BY-NC-4.0", "fail"),
        ("Apache-2.0 WITH LLVM-exception", "pass"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "warn"),
        ("GPL-2.0", "warn"),
        ("MIT WITH something", "fail"),
        ("MIT WITH MIT", "fail"),
        ("Made-Up-1.0", "fail"),
        ("LicenseRef-Unknown", "fail"),
        (LLAMA, "warn"),
        (f"{LLAMA} AND {GEMMA}", "warn"),
        (f"MIT OR {LLAMA}", "pass"),
        ("LicenseRef-Qwen-Research", "fail"),
        ("NOASSERTION", "warn"),
        ("NONE", "fail"),
        ("MIT OR", "fail"),
        ("", "fail"),
        ("((((", "fail"),
        ("WITH", "fail"),
        ("(" * 200 + "MIT" + ")" * 200, "fail"),
        ("MIT\x00", "fail"),
        ("( ) MIT", "fail"),
        ("((( AND MIT AND Apache-2.0", "fail"),
    ],
)
def test_verdicts(expression, verdict):
    found = judged(expression)
    assert found.verdict == verdict and found.report["expression"] == expression
    assert len(found.summary) <= 300 and len(found.tool) <= 60


def test_the_report_names_each_licence_and_the_normal_form():
    report = judged(f"apache-2.0 and {GEMMA}").report
    assert report["normalized"] == f"Apache-2.0 AND {GEMMA}"
    assert report["licences"][GEMMA]["acknowledge"] is True and report["licences"]["Apache-2.0"]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("MIT", []),
        (LLAMA, [LLAMA]),
        (f"{LLAMA} OR MIT", []),
        (f"{LLAMA} OR {GEMMA} AND {LLAMA}", [LLAMA]),
        (f"{LLAMA} AND {GEMMA} AND MIT", [GEMMA, LLAMA]),
        ("NOASSERTION", []),
        ("GPL-3.0-only", []),
        ("MIT OR", []),
    ],
)
def test_terms_to_acknowledge(expression, keys):
    found = licence.terms(expression)
    assert [item.key for item in found] == keys
    for item in found:
        assert item.words == LICENCES[item.key].restrictions and re.fullmatch(r"sha256:[0-9a-f]{64}", item.digest)


def test_terms_have_a_digest_of_their_words(monkeypatch):
    before = licence.terms(LLAMA)[0].digest
    other = LICENCES[LLAMA].__class__("Llama", LICENCES[LLAMA].verdict, "Other words.", True)
    monkeypatch.setitem(LICENCES, LLAMA, other)
    assert licence.terms(LLAMA)[0].digest != before


def test_the_table_is_sound():
    known = get_spdx_licensing().known_symbols
    for key, item in LICENCES.items():
        assert key in known or re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", key) or key in {"NONE", "NOASSERTION"}, key
        assert item.name and (item.verdict == "pass") == (not item.restrictions), key
        assert not item.acknowledge or item.verdict == "warn", "what is refused is not acknowledged"
        assert len(key) <= 80
    assert sum(item.acknowledge for item in LICENCES.values()) >= 15
