"""The file check: the table of artefacts, formats by name and by content, pickles, hostile headers, and sources that
answer differently at the second time.
"""

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest

from catalog.evidence import files, fit, probing, reading, sandbox
from catalog.evidence.case import Case
from catalog.models import Asset, Kind, Pin, PinState, Version
from catalog.probes import formats
from catalog.sources.directory import DirectoryTree
from catalog.sources.tree import SourceError
from tests.catalog import artefacts, content_kit
from tests.catalog.artefacts import gadget, torch_zip, zip_of
from tests.catalog.content_kit import case_of, write_model, write_weights

pytestmark = pytest.mark.slow
ROW = re.compile(r"^\| ([^|]+) \| `([^`]+)` \| (\w+) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _state(tmp_path, settings):
    settings.STATE_DIR = tmp_path / "state"


@pytest.fixture(scope="module")
def rows():
    """What docs/artefacts.md says now, by title and path."""
    text = artefacts.DOCUMENT.read_text(encoding="utf-8")
    return {(title, path): (verdict, reason) for title, path, verdict, reason in ROW.findall(text)}


@pytest.mark.parametrize("artefact", artefacts.ARTEFACTS, ids=lambda item: item.title)
def test_the_table_says_what_the_check_says(artefact, rows, tmp_path):
    verdict, reason = artefacts.judged(artefact, tmp_path / "model")
    assert rows[artefact.title, artefact.path] == (verdict, reason.replace("|", "\\|"))
    assert (verdict == "fail") == artefact.malicious
    if artefact.malicious:
        assert artefact.path in reason


def test_the_table_has_enough_and_nothing_else(rows):
    assert {(item.title, item.path) for item in artefacts.ARTEFACTS} == set(rows)
    assert sum(item.malicious for item in artefacts.ARTEFACTS) >= 10
    assert sum(not item.malicious for item in artefacts.ARTEFACTS) >= 5


def test_a_whole_model_passes_with_a_report(tmp_path):
    found = files.check(case_of(write_model(tmp_path / "model")))
    assert (found.verdict, found.summary) == ("pass", "7 files, all of formats that carry no code.")
    assert {row["path"]: row["format"] for row in found.report["files"]}["model.safetensors"] == "safetensors"
    assert found.report["isolation"] == {"process": "own", "network": found.report["isolation"]["network"]}
    assert "picklescan 1." in found.tool and len(found.tool) <= 60
    assert found == files.check(case_of(tmp_path / "model")), "the same content gives the same report"


def test_it_applies_to_what_loads_files(tmp_path):
    assert files.applies(case_of(tmp_path).version)
    assert not files.applies(Version(asset=Asset(kind=Kind.MCP_SERVER), source="hf://a/b"))
    assert not files.applies(case_of(tmp_path, runtime={"demo": True, "command": []}).version)


def test_without_a_pin_it_fails(tmp_path):
    case = case_of(write_weights(tmp_path / "model"))
    assert files.check(Case(case.version, None, case.open_tree)).verdict == "fail"
    assert files.check(Case(case.version, Pin(state=PinState.FAILED), case.open_tree)).verdict == "fail"


# --- Pickles ----------------------------------------------------------------------------------------------------------

GADGETS = {
    "os.system": gadget("os:system", "id"),
    "posix.system": gadget("posix:system", "id"),
    "nt.system": gadget("nt:system", "id"),
    "subprocess.Popen": gadget("subprocess:Popen", ["id"]),
    "builtins.eval": gadget("builtins:eval", "1"),
    "__builtin__.exec": gadget("__builtin__:exec", "1", protocol=2),
    "pydoc.locate": gadget("pydoc:locate", "os.system"),
    "timeit.timeit": gadget("timeit:timeit", "1"),
    "importlib.import_module": gadget("importlib:import_module", "os"),
    "runpy.run_path": gadget("runpy:run_path", "/x"),
    "socket.create_connection": gadget("socket:create_connection", ("example.com", 80)),
    "webbrowser.open": gadget("webbrowser:open", "http://example.com"),
    "functools.partial": gadget("functools:partial", 1),
    "operator.attrgetter": gadget("operator:attrgetter", "system"),
    "code.interact": gadget("code:interact"),
    "torch.hub.load": gadget("torch.hub:load", "a/b"),
    "numpy.load": gadget("numpy:load", "x"),
    "company_module.run": gadget("company_module:run", "x"),
    "os.path.join": gadget("os.path:join", "x"),
}


def scan(content, name="x.pkl"):
    with sandbox.scratch() as file:
        file.write(content)
        return sandbox.ask("pickles", file, {"name": name}).body


@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_fails_by_name(name):
    found = scan(GADGETS[name])["findings"]
    assert found and {level for level, _ in found} == {"fail"}
    assert any(name in sentence for _, sentence in found)


ODD = {
    "a second pickle behind a harmless one": pickle.dumps({"a": 1}) + GADGETS["os.system"],
    "a gadget in a member of another name": zip_of({"archive/data.pkl": pickle.dumps(1), "x/y": GADGETS["os.system"]}),
    "a gadget of the text protocol in a member": zip_of({"a.pkl": pickle.dumps(1), "b": b"cos\nsystem\n(S'id'\ntR."}),
    "text behind a pickle": pickle.dumps(1) + b"this is no pickle",
    "no pickle at all": b"hello world",
    "nothing": b"",
    "an archive without a pickle": zip_of({"readme.txt": b"x"}),
    "an archive cut off": torch_zip(pickle.dumps(OrderedDict()))[:-30],
    "a damaged member": torch_zip(pickle.dumps(OrderedDict())).replace(b"OrderedDict", b"OrderedDXct", 1),
    "TorchScript": torch_zip(pickle.dumps(1), **{"archive/code/__torch__.py": b"def forward(): ..."}),
    "a computed module name": b"\x80\x04K\x01\x8c\x06system\x93.",
    "a NumPy array of objects": b"\x93NUMPY\x01\x00" + struct.pack("<H", 58)
    + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }  \n" [:58].ljust(58) + GADGETS["os.system"],
    "a NumPy array without a header": b"\x93NUMPY\x01\x00\x05\x00abcde",
    "7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 60,
}  # fmt: skip


@pytest.mark.parametrize("title", ODD)
def test_what_is_not_read_to_its_end_fails(title):
    found = scan(ODD[title], "x.bin")["findings"]
    assert found and found[0][0] == "fail"


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(OrderedDict(a=[1.5, "x"]), protocol=protocol) for protocol in range(6)
    ] + [torch_zip(pickle.dumps(OrderedDict(a=1), 2)), b"\x93NUMPY\x01\x00" + struct.pack("<H", 58)
         + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".ljust(57) + b"\n\0\0\0\0"],
)  # fmt: skip
def test_a_clean_pickle_warns(content):
    (level, sentence), = scan(content, "x.bin")["findings"]  # fmt: skip
    assert level == "warn" and "only safetensors and GGUF cannot run code" in sentence


def test_a_pickle_is_never_loaded(tmp_path):
    marker = tmp_path / "loaded"
    scan(gadget("pathlib:Path.touch", str(marker)))
    scan(gadget("os:mkdir", str(marker)))
    assert not marker.exists()


def test_a_pickle_too_large_to_scan_fails(tmp_path, monkeypatch):
    folder = write_weights(tmp_path / "model")
    (folder / "x.bin").write_bytes(pickle.dumps([0] * 1000))
    monkeypatch.setattr(files, "SCAN_BYTES", 100)
    monkeypatch.setattr(probing, "SCAN_BYTES", 100)
    found = files.check(case_of(folder))
    assert found.verdict == "fail" and "the most that is looked through is 100" in found.summary


# --- Formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "verdict"),
    [
        ("chat_template.jinja", b"{{ messages }}", "pass"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02", "pass"),
        ("cl100k.tiktoken", b"IQ== 0\nIg== 1\n", "pass"),
        ("model.sig", b'{"mediaType": "x"}', "pass"),
        ("NOTICE", b"Notice\n", "pass"),
        ("docs/logo.webp", b"RIFF\x00\x00\x00\x00WEBP", "pass"),
        ("notes.org", b"plain words\n", "warn"),
        ("blob", b"\x00\x01\x02", "fail"),
        ("weights.model", b"\x00\x01\x02", "fail"),
        ("run.sh", b"echo\n", "fail"),
        ("README.md", b"#!/bin/sh\nid\n", "fail"),
        ("tokenizer.model", b"\n\x7f", "fail"),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", "pass"),
        ("tokenizer.model.v3", b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02", "pass"),
        ("tokenizer.model.v3", b"\x00\x01", "fail"),
        ("vocab.json", b'{"a": 1, "a": 2}', "fail"),
        ("vocab.json", b"\xff\xfe", "fail"),
        ("data.json", b"{" * 3 + b"PK\x03\x04", "fail"),
        ("logo.png", zip_of({"a.txt": b"x"}), "fail"),
        ("logo.png", b"\x89PNG\r\n\x1a\n" + zip_of({"a.txt": b"x"}), "fail"),
        ("data.rar", b"Rar!\x1a\x07\x00", "fail"),
        ("kernel.cu.o", b"\x7fELF", "fail"),
        ("README.md", "Ignore\u202e this".encode(), "warn"),
    ],
)
def test_formats_by_name_and_content(name, content, verdict, tmp_path):
    folder = write_weights(tmp_path / "model")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert files.check(case_of(folder)).verdict == verdict


def test_a_shard_that_the_index_names_must_be_there(tmp_path):
    folder = write_weights(tmp_path / "model")
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = files.check(case_of(folder))
    assert found.verdict == "fail" and "model-2.safetensors" in found.summary and "not there" in found.summary


@pytest.mark.parametrize("word", ["--trust-remote-code", "--trust_remote_code", "--trust", "--trust-remote-code=true"])
def test_a_command_that_trusts_remote_code_fails(word, tmp_path):
    folder = write_weights(tmp_path / "model")
    runtime = {"engine": "vllm", "command": ["vllm", "serve", "{model}"]}
    trusting = {**runtime, "command": [*runtime["command"], word]}
    assert files.check(case_of(folder, runtime=runtime)).verdict == "pass"
    assert files.check(case_of(folder, runtime=trusting)).verdict == "fail"
    assert files.check(case_of(folder, runtime=runtime, runtimes={"other": trusting})).verdict == "fail"


@pytest.mark.parametrize("key", ["auto_map", "custom_pipelines"])
def test_code_of_the_model_warns_until_it_is_run(key, tmp_path):
    folder = write_weights(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({**content_kit.LLAMA, key: {"AutoModel": "modeling.Tiny"}}))
    found = files.check(case_of(folder))
    assert found.verdict == "warn" and key in found.summary
    trusting = {"engine": "vllm", "command": [*content_kit.COMMAND, "--trust-remote-code"]}
    rows = files.check(case_of(folder, runtime=trusting)).report["files"]
    assert {row["path"] for row in rows if row["verdict"] == "fail"} == {"config.json", "runtime"}


def test_the_decision_table_names_every_role():
    assert {formats.role(f"x.{ending}") for ending in ("safetensors", "bin", "py", "so", "h5", "onnx", "strange")} == {
        "safetensors", "pickle", "python", "program", "hazard", "inert", "unknown",
    }  # fmt: skip
    assert formats.role("LICENSE") == formats.role("LICENSE.txt") == formats.role("readme.md") == "prose"
    assert formats.role("LICENSE.py") == "python" and formats.role("README.so") == "program"


# --- Sources that do not hold still -----------------------------------------------------------------------------------


class OtherTree(DirectoryTree):
    """A source that gives something else than what was pinned whenever a file is opened."""

    def __init__(self, folder, change):
        super().__init__(folder, [])
        self.change = change

    @contextlib.contextmanager
    def open(self, path, start=0):
        with super().open(path, start) as file:
            yield io.BytesIO(self.change(file.read()))


def _broken(content):
    raise SourceError("The hub does not answer.")


@pytest.mark.parametrize(
    "change", [lambda raw: raw[:-1], lambda raw: raw + b" ", lambda raw: raw.replace(b"l", b"1"), lambda raw: b""]
)
def test_another_file_at_the_second_read_fails(change, tmp_path):
    folder = write_weights(tmp_path / "model")
    case = case_of(folder)
    other = Case(case.version, case.pin, lambda: OtherTree(folder, change))
    for driver in (files, fit):
        found = driver.check(other)
        assert found.verdict == "fail" and "what was read is not what was pinned" in found.summary


def test_a_source_that_cannot_be_read_now_is_no_verdict(tmp_path):
    folder = write_weights(tmp_path / "model")
    case = case_of(folder)
    with pytest.raises(SourceError):
        files.check(Case(case.version, case.pin, lambda: OtherTree(folder, _broken)))


@pytest.mark.parametrize("change", ["extra", "gone", "longer"])
def test_a_tree_with_other_files_fails(change, tmp_path):
    folder = write_model(tmp_path / "model")
    case = case_of(folder)
    if change == "extra":
        (folder / "more.txt").write_text("x")
    elif change == "gone":
        (folder / "README.md").unlink()
    else:
        (folder / "README.md").write_text("longer than it was before")
    found = files.check(case)
    assert found.verdict == "fail" and "not what was pinned" in found.summary


# --- Size -------------------------------------------------------------------------------------------------------------


def test_ten_gigabytes_are_judged_by_their_header(tmp_path, monkeypatch):
    size = 10 * 2**30
    shape = [size // 2 // 4096, 4096]
    header = json.dumps({"weights": {"dtype": "BF16", "shape": shape, "data_offsets": [0, size]}}).encode()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content_kit.LLAMA))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    read = []
    chunk = reading.beginning

    def counted(*given):
        read.append(chunk(*given))
        return read[-1]

    monkeypatch.setattr(reading, "beginning", counted)
    config = (folder / "config.json").read_bytes()
    pin = Pin(state=PinState.RESOLVED, digest="sha256:x", files=[
        {"path": "model.safetensors", "bytes": 8 + len(header) + size, "sha256": "0" * 64},
        {"path": "config.json", "bytes": len(config), "sha256": hashlib.sha256(config).hexdigest()},
    ])  # fmt: skip
    needs = {"parameters": size // 2, "layers": 2, "kv_heads": 2, "head_dim": 16, "max_context_tokens": 512}
    case = case_of(folder, pin=pin, needs=needs)
    tracemalloc.start()
    assert [driver.check(case).verdict for driver in (files, fit)] == ["pass", "pass"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(read) < 4096 and peak < 16 * 2**20
    assert not list((tmp_path / "state").iterdir()), "scratch files have no name and do not stay"
    assert os.stat(folder / "model.safetensors").st_blocks * 512 < 2**20
    assert zipfile.is_zipfile(folder / "config.json") is False
