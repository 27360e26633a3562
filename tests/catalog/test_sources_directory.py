"""file:// and pvc://: what is read of a directory, and that nothing leads out of it."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from catalog.sources import open_tree
from catalog.sources.tree import NotResumed, SourceDenied, SourceError, SourceMissing, SourceRefused, Tree


@pytest.fixture
def root(tmp_path: Path, settings: Any) -> Path:
    """A directory that an operator listed, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("not yours")
    root = tmp_path / "models"
    (root / "granite" / "onnx").mkdir(parents=True)
    (root / "granite" / "config.json").write_text("{}")
    (root / "granite" / "onnx" / "model.bin").write_bytes(b"weights")
    settings.SOURCE_DIRS = {"models": root}
    return root


def tree(root: Path, below: str = "granite") -> Tree:
    return open_tree(f"file://{root}/{below}")


def read(tree: Tree, path: str, start: int = 0) -> bytes:
    with tree.open(path, start) as stream:
        return stream.read()


def test_the_files_of_a_directory(root: Path) -> None:
    for source in (f"file://{root}/granite", f"file://{root}/granite/", "pvc://models/granite"):
        found = open_tree(source)
        assert [(entry.path, entry.bytes) for entry in found.entries()] == [("config.json", 2), ("onnx/model.bin", 7)]
        assert read(found, "onnx/model.bin") == b"weights" and read(found, "onnx/model.bin", 3) == b"ghts"
        assert found.revision == ""
    assert [entry.path for entry in open_tree("pvc://models").entries()] == [
        "granite/config.json",
        "granite/onnx/model.bin",
    ]


def test_hidden_files_count(root: Path) -> None:
    """What a signature ignores is served all the same."""
    (root / "granite" / ".git").mkdir()
    (root / "granite" / ".git" / "config").write_text("x")
    assert ".git/config" in [entry.path for entry in tree(root).entries()]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("file:///etc", SourceDenied), ("file:///", SourceDenied), ("file://etc", SourceRefused),
        ("file://{root}", SourceDenied), ("pvc://other/x", SourceDenied), ("pvc:///x", SourceDenied),
        ("pvc://models/../secret.txt", SourceRefused), ("pvc://models/granite/../../..", SourceRefused),
        ("pvc://models/%2e%2e/secret.txt", SourceRefused), ("pvc://models//granite", SourceRefused),
        ("file://{models}/../secret.txt", SourceRefused), ("file://{models}-other/x", SourceDenied),
        ("pvc://models/granite/./onnx", SourceRefused), ("pvc://models/a%00b", SourceRefused),
        ("pvc://models/a\\b", SourceRefused), ("pvc://models/no-such", SourceMissing),
        ("file:relative", SourceDenied), ("ftp://x/y", SourceDenied), ("https://example.com/x", SourceDenied),
        ("builtin://demo", SourceRefused), ("", SourceDenied),
    ],
)  # fmt: skip
def test_what_is_no_directory_of_the_portal_is_refused(root: Path, source: str, error: type[SourceError]) -> None:
    with pytest.raises(error) as caught:
        list(open_tree(source.format(root=root.parent, models=root)).entries())
    assert str(caught.value).endswith(".")


def test_nothing_is_listed_without_a_setting(root: Path, settings: Any) -> None:
    settings.SOURCE_DIRS = {}
    for source in (f"file://{root}/granite", "pvc://models/granite"):
        with pytest.raises(SourceDenied, match="GATEHOUSE_SOURCE_DIRS"):
            open_tree(source)


@pytest.mark.parametrize("kind", ["file link", "folder link", "link inside", "pipe", "socket"])
def test_what_is_no_plain_file_is_refused(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = root / "granite" / "odd"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        monkeypatch.chdir(place.parent)  # the name of a socket may not be long
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
    else:
        targets = {"file link": "../../secret.txt", "folder link": "../..", "link inside": "config.json"}
        place.symlink_to(targets[kind])
    with pytest.raises(SourceRefused, match="odd"):
        list(tree(root).entries())
    with pytest.raises(SourceError):
        read(tree(root), "odd")


def test_a_link_in_the_path_of_the_source_is_refused(root: Path) -> None:
    (root / "link").symlink_to("granite")
    (root / "out").symlink_to(root.parent)
    for below in ("link", "out", "out/models"):
        with pytest.raises(SourceRefused, match="symbolic link"):
            list(tree(root, below).entries())


def test_the_directory_of_the_operator_may_be_a_link(root: Path, settings: Any) -> None:
    link = root.parent / "mounted"
    link.symlink_to(root)
    settings.SOURCE_DIRS = {"models": link}
    assert len(list(open_tree("pvc://models/granite").entries())) == 2


def test_a_file_that_becomes_a_link_leads_nowhere(root: Path) -> None:
    """Between the list and the reading somebody who may write there puts a link in its place."""
    found = tree(root)
    assert len(list(found.entries())) == 2
    (root / "granite" / "config.json").unlink()
    (root / "granite" / "config.json").symlink_to("../../secret.txt")
    with pytest.raises(SourceRefused, match="symbolic link"):
        read(found, "config.json")


def test_a_folder_that_becomes_a_link_leads_nowhere(root: Path) -> None:
    found = tree(root)
    (root / "granite" / "onnx").rename(root / "granite" / "away")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "model.bin").write_bytes(b"other")
    (root / "granite" / "onnx").symlink_to(outside)
    with pytest.raises(SourceRefused, match="symbolic link"):
        read(found, "onnx/model.bin")


def test_a_file_that_becomes_a_pipe_does_not_hold_the_worker(root: Path) -> None:
    found = tree(root)
    (root / "granite" / "config.json").unlink()
    os.mkfifo(root / "granite" / "config.json")
    with pytest.raises(SourceRefused, match="no regular file"):
        read(found, "config.json")


def test_a_file_that_is_written_to_meanwhile_is_read_again(root: Path) -> None:
    with pytest.raises(NotResumed, match="was written to"), tree(root).open("config.json") as stream:  # noqa: PT012
        stream.read()
        (root / "granite" / "config.json").write_text("[1]")


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "onnx/../../secret.txt", "", ".", "onnx//model.bin"])
def test_a_path_that_leads_outside_is_not_opened(root: Path, path: str) -> None:
    with pytest.raises(SourceRefused):
        read(tree(root), path)


@pytest.mark.parametrize(
    "name",
    ["a\\b", "line\nbreak", "tab\tx", "\u202egnp.exe", "\u200bx", b"\xff\xfe".decode("utf-8", "surrogateescape")],
)
def test_names_that_lie_are_refused(root: Path, name: str) -> None:
    (root / "granite" / name).write_text("x")
    with pytest.raises(SourceRefused, match="cannot be printed") as caught:
        list(tree(root).entries())
    assert str(caught.value).isprintable()


def test_too_many_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.sources.paths.MAX_FILES", 3)
    for number in range(2):
        (root / "granite" / f"{number}.txt").touch()
    with pytest.raises(SourceRefused, match="more than 3 files"):
        list(tree(root).entries())


def test_too_many_names_in_one_folder_are_not_held(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.sources.paths.MAX_FILES", 3)
    for number in range(8):
        (root / "granite" / f"{number}.txt").touch()
    with pytest.raises(SourceRefused, match="more than 3 files"):
        list(tree(root).entries())


def test_too_much(root: Path, settings: Any) -> None:
    settings.MODEL_BYTES = 8
    with pytest.raises(SourceRefused, match="GATEHOUSE_MODEL_BYTES"):
        list(tree(root).entries())


def test_too_deep(root: Path) -> None:
    (root / "granite" / "/".join(["d"] * 40)).mkdir(parents=True)
    with pytest.raises(SourceRefused, match="levels deep"):
        list(tree(root).entries())


def test_what_may_not_be_read_is_a_failure_with_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *args: Any, **more: Any) -> int:
        if path == "config.json":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)  # whoever runs the tests may be root, who may read everything
    with pytest.raises(SourceError, match="Permission denied") as caught:
        read(tree(root), "config.json")
    assert not isinstance(caught.value, SourceRefused)


def test_a_volume_that_is_not_mounted_now_is_no_missing_source(root: Path, settings: Any) -> None:
    settings.SOURCE_DIRS = {"models": root / "gone"}
    with pytest.raises(SourceError, match="cannot be opened") as caught:
        list(open_tree("pvc://models/granite").entries())
    assert not isinstance(caught.value, SourceRefused)


def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (root / "granite" / "zzz").symlink_to("/")
    for _ in range(20):
        with pytest.raises(SourceRefused):
            list(tree(root).entries())
        read(tree(root), "onnx/model.bin")
        next(tree(root).entries())
    assert len(os.listdir("/proc/self/fd")) <= before + 1
