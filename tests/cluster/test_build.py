"""Where the programs of the control plane are looked for, and a build that does not leave halves behind."""

import stat
from pathlib import Path

import pytest

from tests.cluster import build
from tests.cluster.binaries import CONTROL_PLANE, KSERVE, KUBERNETES, Missing, find_control_plane


def programs(directory: Path, *names: str) -> Path:
    """A directory with programs of these names."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\necho go version go1.27.3 linux/amd64\n")
        (directory / name).chmod(stat.S_IRWXU)
    return directory


def test_named_programs_come_before_cached_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert isinstance(find_control_plane(), Missing)
    cached = programs(tmp_path / "cache" / "gatehouse-ci" / f"kubernetes-{KUBERNETES}", *CONTROL_PLANE)
    assert find_control_plane() == cached
    named = programs(tmp_path / "named", *CONTROL_PLANE)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(named))
    assert find_control_plane() == named
    (named / "kube-scheduler").unlink()
    found = find_control_plane()
    assert isinstance(found, Missing)
    assert "which lacks one of etcd, " in found.sentence


def test_another_go_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = programs(tmp_path / "bin", "go") / "go"
    monkeypatch.setenv("GATEHOUSE_TEST_GO", str(go))
    with pytest.raises(build.BuildError, match=r"Go 1\.26 is needed .* go1\.27\.3 .* set GATEHOUSE_TEST_GO"):
        build.find_go()


def test_a_build_that_fails_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it got done before it failed would otherwise be taken for the whole."""

    def fail(target: Path) -> None:
        with build.whole_or_nothing(target) as inside:
            programs(inside / "bin", "etcd")
            raise build.BuildError("no")

    monkeypatch.setattr(build, "build_control_plane", fail)
    assert build.main(["--into", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "no\n"
    assert [path.name for path in tmp_path.iterdir()] == [".cluster.lock"]


def test_what_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(target: Path) -> None:
        with build.whole_or_nothing(target) as inside:
            (inside / "etcd").touch()
            made.append(target.name)

    monkeypatch.setattr(build, "build_control_plane", make)
    monkeypatch.setattr(build, "fetch_manifests", make)
    assert [build.main(["--into", str(tmp_path)]) for _ in range(2)] == [0, 0]
    assert made == [f"kubernetes-{KUBERNETES}", f"kserve-{KSERVE}"]
    assert (tmp_path / made[0] / "etcd").exists()
