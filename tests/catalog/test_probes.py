"""The parsers of hostile files, in process: each header field that lies, templates that reach out, and noise."""

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.probes import archives, documents, gguf, safetensors, templates
from catalog.probes.findings import Findings
from tests.catalog import artefacts, content_kit

ROOT = Path(__file__).resolve().parents[2]
TENSOR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def header_of(value, data: bytes = b"\0" * 16) -> bytes:
    return artefacts.safetensors(value if isinstance(value, bytes) else json.dumps(value).encode(), data)


def look(probe, content, size=None, **question):
    size = len(content) if size is None else size
    return probe.answer(io.BytesIO(content), {"size": size, "given": len(content), **question})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "before the length"),
        (b"\x02\0\0\0", "before the length"),
        (struct.pack("<Q", 100_000_001) + b"{}", "the limit is 100,000,000"),
        (struct.pack("<Q", 50) + b"{}", "but the file has only 10"),
        (header_of(b"[]"), "not a JSON object"),
        (header_of(b'{"a": '), "not JSON"),
        (header_of(b'{"a": {}, "a": {}}'), "twice"),
        (header_of(b"{" + b'"a":{' * 90_000 + b"}" * 90_001), "nested"),
        (header_of({"a": {**TENSOR, "code": 1}}), "exactly dtype, shape and data_offsets"),
        (header_of({"a": [1]}), "exactly"),
        (header_of({"a": {**TENSOR, "dtype": "OBJECT"}}), "unknown dtype"),
        (header_of({"a": {**TENSOR, "dtype": ["F32"]}}), "unknown dtype"),
        (header_of({"a": {**TENSOR, "shape": [2.0, 2]}}), "whole numbers"),
        (header_of({"a": {**TENSOR, "shape": [-2, -2]}}), "whole numbers"),
        (header_of({"a": {**TENSOR, "shape": [True, 4]}}), "whole numbers"),
        (header_of({"a": {**TENSOR, "shape": [2**62, 2**62]}}), "more elements than"),
        (header_of({"a": {**TENSOR, "data_offsets": [0, 15]}}), "by its shape"),
        (header_of({"a": {**TENSOR, "data_offsets": [16, 0]}}), "by its shape"),
        (header_of({"a": {**TENSOR, "data_offsets": [0]}}), "two whole numbers"),
        (header_of({"a": {**TENSOR, "dtype": "F4", "shape": [3]}}), "by its shape"),
        (header_of({"a": TENSOR}, b"\0" * 17), "belongs to none"),
        (header_of({"a": TENSOR}, b"\0" * 15), "more than the file has"),
        (header_of({"a": {**TENSOR, "data_offsets": [4, 20]}}, b"\0" * 20), "leaves a hole"),
        (header_of({"a": TENSOR, "b": TENSOR}), "overlaps"),
        (header_of({"__metadata__": {"a": 1}, "a": TENSOR}), "__metadata__"),
        (header_of({"__metadata__": [], "a": TENSOR}), "__metadata__"),
        (header_of(b'{"\xff": 1}'), "not UTF-8"),
    ],
)
def test_a_safetensors_header_that_lies_fails(content, words):
    (level, sentence), = look(safetensors, content)["findings"]  # fmt: skip
    assert level == "fail" and words in sentence


def test_a_file_of_the_library_passes(tmp_path):
    content_kit.write_safetensors(tmp_path / "a.safetensors")
    raw = (tmp_path / "a.safetensors").read_bytes()
    answer = look(safetensors, raw)
    assert answer["findings"] == [] and answer["facts"]["elements"] == 41_088
    assert answer["facts"]["dtypes"] == {"F16": 41_088} and answer["facts"]["metadata"] == ["format"]
    assert look(safetensors, header_of({}, b""))["findings"] == [], "no tensors and no data"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, sides: tuple[int, ...], kind: int, start: int) -> bytes:
    shape = struct.pack(f"<I{len(sides)}Q", len(sides), *sides)
    return text(name) + shape + struct.pack("<IQ", kind, start)


G = artefacts.gguf_header
ARRAY = struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 9, 1) + b"\0" * 64
FOUR = key("general.alignment", 4, struct.pack("<I", 32))
BIG = b"\0" * 4096


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGUG" + b"\0" * 20, "begin with GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + b"\0" * 16, "its version is 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 16, "little-endian"),
        (b"GGUF\x03\0", "the file ends"),
        (G(tensors=2**63), "tensors, more than"),
        (G(keys=9_999) + b"\0" * 100, "keys, more than"),
        (G(keys=1, body=struct.pack("<Q", 2**40)) + BIG, "the name of a key claims"),
        (G(keys=1, body=text("a") + struct.pack("<I", 99)) + BIG, "unknown type 99"),
        (G(keys=1, body=key("a", 8, struct.pack("<Q", 2**40))) + BIG, "claims 1,099,511,627,776 bytes"),
        (G(keys=1, body=key("a", 9, struct.pack("<IQ", 4, 2**60))) + BIG, "claims 1,152,921,504,606,846,976 values"),
        (G(keys=1, body=key("a", 9, struct.pack("<IQ", 8, 2**60))) + BIG, "values, more than"),
        (G(keys=1, body=key("a", 9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2**50))) + BIG, "a string in"),
        (G(keys=1, body=key("a", 9, ARRAY)) + BIG, "nests arrays deeper"),
        (G(keys=2, body=FOUR + FOUR) + BIG, "twice"),
        (G(keys=1, body=key("general.alignment", 4, struct.pack("<I", 7))) + BIG, "alignment"),
        (G(keys=1, body=key("general.alignment", 8, text("x"))) + BIG, "alignment"),
        (G(tensors=1, body=tensor("a", (1,) * 5, 0, 0)) + BIG, "5 dimensions"),
        (G(tensors=1, body=tensor("a", (4,), 77, 0)) + BIG, "unknown type 77"),
        (G(tensors=1, body=tensor("a", (2**40, 2**40), 0, 0)) + BIG, "more than the file holds"),
        (G(tensors=1, body=tensor("a", (33,), 2, 0)) + BIG, "no whole blocks"),
        (G(tensors=1, body=tensor("a", (4,), 0, 5)) + BIG, "no multiple of 32"),
        (G(tensors=1, body=tensor("a", (4,), 0, 2**40)) + BIG, "but the file has only"),
        (G(tensors=2, body=tensor("a", (16,), 0, 0) + tensor("b", (16,), 0, 32)) + BIG, "overlaps"),
        (G(tensors=2, body=tensor("a", (4,), 0, 0) * 2) + BIG, "twice"),
        (G(tensors=1, body=tensor("a", (4,), 0, 0)) + BIG, "belong to none"),
        (G(keys=1, body=struct.pack("<Q", 1) + b"\xff") + BIG, "not UTF-8"),
    ],
)
def test_a_gguf_header_that_lies_fails(content, words):
    (level, sentence), = look(gguf, content)["findings"]  # fmt: skip
    assert level == "fail" and words in sentence


def test_a_gguf_of_the_library_passes_and_asks_for_more(tmp_path):
    content_kit.write_gguf(tmp_path / "a.gguf")
    raw = (tmp_path / "a.gguf").read_bytes()
    answer = look(gguf, raw)
    assert answer["findings"] == [] and answer["facts"]["elements"] == 41_088
    assert answer["facts"]["shape"] == {
        "block_count": 2, "context_length": 512, "embedding_length": 64, "attention.head_count": 4,
        "attention.head_count_kv": 2,
    }  # fmt: skip
    assert look(gguf, raw[:1000], len(raw)) == {"more": True}
    assert look(gguf, raw[:1000])["findings"][0][0] == "fail", "the same bytes as a whole file are cut off"


@given(st.binary(max_size=300), st.integers(0, 2**64))
@settings(max_examples=300, deadline=None)
def test_noise_is_a_finding_and_never_an_error(noise, size):
    for content in (noise, b"GGUF\x03\0\0\0" + noise, struct.pack("<Q", len(noise)) + b"{" + noise):
        for probe in (safetensors, gguf):
            answer = look(probe, content, size)
            assert answer.get("more") or answer["findings"] or answer["facts"]
    for role in ("json", "text", "template", "sentencepiece", "binary", "prose"):
        look(documents, noise, role=role)
    look(archives, noise)


# --- Chat templates ---------------------------------------------------------------------------------------------------


def judged(template: str) -> list[list[str]]:
    found = Findings()
    templates.judge(template, "", found)
    return found.found


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages['__class__'] }}",
        "{{ messages['__cla' ~ 'ss__'] }}",
        "{{ messages['\\x5f\\x5fglobals\\x5f\\x5f'] }}",
        "{{ messages|attr('x') }}",
        "{{ messages | attr('x') }}",
        "{{ messages.\n  _private }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ cycler }}",
        "{{ self }}",
        "{{ namespace.__init__ }}",
        "{{ f.gi_frame.f_builtins }}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{%- include '/etc/passwd' -%}",
        "{% extends 'x' %}",
        "{% for i in range(100000000) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000 }}",
        "{{ 9 ** 99999999999 }}",
        "{{ 0xffffffffff }}",
        "{{ messages",
        "{% if x }}",
        "{{ 'unfinished }}",
        "{# never ends",
        "{% raw %}{{",
        "ignore\u202ethis",
        "tag\U000e0041s",
        "x" * 600_000,
        "{{ {'a': {'b': ''.__class__}} }}",
        "{# comment #}{{ x.__dict__ }}",
    ],
)
def test_a_template_that_reaches_out_fails(template):
    assert any(level == "fail" for level, _ in judged(template))


CHATML = """{%- set ns = namespace(found=false, last=messages|length - 1) -%}
{%- for message in messages[::-1] %}
    {%- if ns.found and message.role == 'user' and message.content is string and not(message.x.startswith('<x>')) %}
        {%- set ns.found = true %}
    {%- endif %}
{%- endfor %}
{% macro line(role, text='') %}{{ '<|im_start|>' + role + '\\n' + text|trim + '<|im_end|>' }}{% endmacro %}
{{ line('system', "You are \\"it's\\" {{ no }} %} helper") }}{# a comment with {{ braces }} and __class__ #}
{% raw %}{{ not.__class__ code }}{% endraw %}
{%- for tool in tools | default([]) %}{{ tool | tojson(indent=4) }}{{ {'a': {'b': 1}}['a']['b'] }}{% endfor %}
{%- if messages | selectattr('role', 'equalto', 'tool') | list | length > 0 %}{{ raise_exception('no') }}{% endif %}
{% generation %}{{ strftime_now('%d %b %Y') }}{{ message.x.split('</think>')[-1].lstrip('\\n') }}{% endgeneration %}
{%- if loop.index0 % 2 == 0 and 2024 > 26 and x.y_z %}{{ '{{' }}{% endif %}
"""


@pytest.mark.parametrize("template", [CHATML, content_kit.TEMPLATE, "no template at all", "}} %} { { %"])
def test_an_honest_template_passes(template):
    assert judged(template) == []


def test_what_a_reviewer_should_know_warns():
    for template in ("{{ 'x'.format(y) }}", "{{ 2 ** 3 }}", "{% shout x %}", "a\u200bb", "{{ '__x' }}"):
        assert [level for level, _ in judged(template)] == ["warn"], template


def test_templates_are_found_where_they_stand():
    bad = "{{ ''.__class__ }}"
    for value in (
        {"chat_template": bad},
        {"chat_template": [{"name": "a", "template": bad}]},
        {"chat_template": {"b": bad}},
    ):
        answer = look(documents, json.dumps(value).encode(), role="json")
        assert answer["findings"][0][0] == "fail"


def test_no_probe_loads_the_portal():
    names = [path.stem for path in (ROOT / "catalog" / "probes").glob("*.py") if path.stem not in {"__init__", "child"}]
    script = f"import sys, importlib; sys.path.insert(0, {str(ROOT)!r})\n"
    script += "".join(f"importlib.import_module('catalog.probes.{name}')\n" for name in names)
    script += "print(sorted(name for name in sys.modules if name.split('.')[0] in {'django', 'portal', 'projects'}))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and len(names) >= 8
