"""Others push, rewrite, refuse and break, workers are killed, proposals wait: nothing is forced, nothing is lost."""

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.gitops import program
from tests.endpoints.git_kit import Remote, built, git
from tests.endpoints.gitops_kit import Make, folder, write
from tests.endpoints.kubernetes_kit import workload

pytestmark = pytest.mark.slow


# --- Others push


def test_two_workers_on_two_machines_both_get_in(repository: Remote, make_writer: Make) -> None:
    wanted = [workload(name=f"model-{number}") for number in range(6)]
    failed: list[BaseException] = []

    def work(state: str, ones: list[Workload]) -> None:
        try:
            for one in ones:
                write(make_writer(state), one)
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(state, wanted[half::2])) for half, state in enumerate(("one", "two"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len([one for one in built(repository) if one["kind"] == "Deployment"]) == 6 and repository.count() == 7


def test_a_rewritten_history_is_built_upon_and_told(repository: Remote, make_writer: Make) -> None:
    first, second = workload(), workload(name="chat")
    write(make_writer(), first)
    write(make_writer(), second)
    repository.rewind(1)
    tip = git(repository.path, "rev-parse", "main").strip()
    assert make_writer().stand(second.endpoint_id).folder == ""
    commit = write(make_writer(), second)
    assert git(repository.path, "rev-parse", f"{commit}^").strip() == tip, "nothing is forced"
    assert "Others rewrote the history of main" in repository.message()


def test_a_server_that_refuses_is_told_in_its_own_words(repository: Remote, make_writer: Make) -> None:
    repository.hook("printf 'only by \\033[31mpull request\\033[0m, token=hunter2hunter2\\n' >&2; exit 1")
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), workload())
    assert caught.value.code == "git_rejected"
    assert "pre-receive hook declined: only by pull request" in caught.value.sentence
    assert "\x1b" not in caught.value.sentence and "hunter2" not in caught.value.sentence
    assert repository.count() == 1


def test_a_killed_worker_leaves_nothing_that_stops_the_next(
    repository: Remote, make_writer: Make, tmp_path: Path
) -> None:
    write(make_writer(), workload())
    (copy,) = (tmp_path / "state" / "gitops" / "one").glob("*.git")
    for name in ("shallow.lock", "packed-refs.lock", "refs/gatehouse/build.lock", "config.lock"):
        (copy / name).touch()
    (copy.parent / "half.git").mkdir()
    assert write(make_writer(), workload(name="second"))
    for broken in ("HEAD", "objects"):
        path = copy / broken
        subprocess.run(["rm", "-rf", str(path)], check=True)
        assert write(make_writer(), workload(name=f"after-{broken.lower()}"))
    assert len([one for one in built(repository) if one["kind"] == "Deployment"]) == 4


class Killed(BaseException):
    """The worker is gone."""


def test_a_worker_may_be_killed_between_any_two_calls_of_git(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a call had its effect and before anybody learned of it: the next worker gets to the same, once."""
    real, calls = program.run, 0
    fatal: tuple[int, str] = (-1, "")

    def run(*arguments: Any, **how: Any) -> program.Ran:
        nonlocal calls
        calls += 1
        if fatal == (calls, "before"):
            raise Killed
        done = real(*arguments, **how)
        if fatal == (calls, "after"):
            raise Killed
        return done

    monkeypatch.setattr(program, "run", run)
    write(make_writer("count"), workload(name="count"))
    whole = calls
    assert whole >= 8
    for number in range(1, whole + 1):
        for moment in ("before", "after"):
            calls, fatal, state = 0, (number, moment), f"{number}-{moment}"
            wanted = workload(name=f"model-{number}-{moment}")
            with pytest.raises(Killed):
                write(make_writer(state), wanted)
            fatal = (-1, "")
            write(make_writer(state), wanted)
            assert make_writer(state).stand(wanted.endpoint_id).wants == {1: 1}
    assert len([one for one in built(repository) if one["kind"] == "Deployment"]) == 2 * whole + 1
    assert repository.count() == 2 * whole + 2, "each endpoint was committed once"


def test_a_copy_is_small_whatever_the_history(repository: Remote, make_writer: Make, tmp_path: Path) -> None:
    for number in range(4):
        repository.write({"weights.bin": os.urandom(2_000_000)}, f"Weights {number}")
    repository.write({"weights.bin": None})
    write(make_writer(), workload())
    size = sum(path.stat().st_size for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert size < 1_000_000


def test_names_in_the_tree_write_nothing(repository: Remote, make_writer: Make, tmp_path: Path) -> None:
    """Trees can hold names that no work tree should get."""
    blob = git(repository.path, "hash-object", "-w", "--stdin", data=b"evil").strip()
    inner = git(repository.path, "mktree", data=f"100644 blob {blob}\tpost-checkout\n".encode())
    tree = git(
        repository.path,
        "mktree",
        "--missing",
        data=f"040000 tree {inner.strip()}\thooks\n100644 blob {blob}\tline\\nbreak\n".encode(),
    )
    commit = git(repository.path, "commit-tree", "-m", "evil", tree.strip())
    git(repository.path, "update-ref", "refs/heads/main", commit.strip())
    wanted = workload()
    write(make_writer(), wanted)
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.name in ("escape", "post-checkout") and path.read_bytes() == b"evil"
    ]
    assert make_writer().stand(wanted.endpoint_id).wants == {1: 1}


def test_a_file_where_a_directory_should_be_is_told(repository: Remote, make_writer: Make) -> None:
    repository.write({"gatehouse": "a file\n"})
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), workload())
    assert caught.value.code == "git_tree_odd" and "gatehouse" in caught.value.sentence


def test_a_missing_branch_and_a_missing_repository_are_told_apart(
    repository: Remote, make_writer: Make, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError) as caught:
        write(make_writer("one", git_branch="prod"), workload())
    assert caught.value.code == "git_branch_missing" and "prod" in caught.value.sentence
    repository.path.rename(tmp_path / "srv" / "gone.git")
    with pytest.raises(ClusterError) as caught:
        write(make_writer("two"), workload())
    assert caught.value.code == "git_repository_missing"


def test_a_directory_that_nobody_allowed_is_not_touched(repository: Remote, make_writer: Make, settings: Any) -> None:
    settings.GIT_DIRECTORIES = []
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), workload())
    assert caught.value.code == "git_address_refused" and "GATEHOUSE_GIT_DIRECTORIES" in caught.value.sentence


def test_a_name_that_is_no_plain_one_gets_no_directory(make_writer: Make) -> None:
    odd: Any = replace(workload(), name="../../etc")
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), odd)
    assert caught.value.code == "invalid_workload" and not caught.value.retry


# --- Pull requests


def test_a_proposal_waits_until_its_content_is_merged(repository: Remote, make_writer: Make) -> None:
    wanted, flow = workload(), {"git_flow": "pull_request"}
    assert write(make_writer(**flow), wanted)
    branch = f"gatehouse/fraud-detection/dev/{folder(wanted).rpartition('/')[2]}-r1"
    assert repository.branches() == [branch, "main"] and repository.count() == 1
    stand = make_writer(**flow).stand(wanted.endpoint_id)
    assert (stand.proposed, stand.wants) == (branch, {1: 1})
    assert write(make_writer(**flow), wanted) == "", "it is proposed once"
    repository.merge(branch, squash=True)  # by another commit than the portal's
    stand = make_writer(**flow).stand(wanted.endpoint_id)
    assert (stand.proposed, stand.wants) == ("", {1: 1}) and stand.hold is None


def test_a_proposal_that_is_overtaken_is_made_anew_without_force(repository: Remote, make_writer: Make) -> None:
    wanted, flow = workload(), {"git_flow": "pull_request"}
    write(make_writer(**flow), wanted)
    branch = next(one for one in repository.branches() if one.endswith("-r1"))
    repository.merge(branch, squash=True)
    for _ in range(2):
        make_writer(**flow).sleep(wanted.endpoint_id)
        repository.merge(branch.removesuffix("r1") + "suspend", squash=True)
        assert make_writer(**flow).stand(wanted.endpoint_id).wants == {1: 0}
        before = git(repository.path, "rev-parse", branch).strip()
        assert write(make_writer(**flow), wanted)
        git(repository.path, "merge-base", "--is-ancestor", before, branch)
        repository.merge(branch, squash=True)
        assert make_writer(**flow).stand(wanted.endpoint_id).wants == {1: 1}


def test_a_deletion_is_proposed_too(repository: Remote, make_writer: Make) -> None:
    wanted, flow = workload(), {"git_flow": "pull_request"}
    write(make_writer(**flow), wanted)
    repository.merge(next(one for one in repository.branches() if one.endswith("-r1")))
    make_writer(**flow).remove(wanted.endpoint_id)
    stand = make_writer(**flow).stand(wanted.endpoint_id)
    assert stand.proposed.endswith("-delete") and stand.wants == {}
    repository.merge(stand.proposed)
    assert make_writer(**flow).stand(wanted.endpoint_id).folder == ""
