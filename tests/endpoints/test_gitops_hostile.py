"""What people and programs put into a repository that the portal neither wrote nor expects: odd names, copies, files
that are large or odd, branches of others.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.gitops import mirror, program
from endpoints.clusters.gitops.comparing import differences
from endpoints.clusters.gitops.repository import Repository
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import manifests
from endpoints.clusters.manifest_text import manifest_of
from tests.endpoints.git_kit import PEOPLE, Remote, built, git
from tests.endpoints.gitops_kit import Make, folder, write
from tests.endpoints.kubernetes_kit import workload

pytestmark = pytest.mark.slow

PROPOSING = {"git_flow": "pull_request"}
# The last ones would be commands of their own to fast-import.
NAMES = (b"caf\xe9", b"caf\xc3\xa9", b'"quoted', b"back\\slash", b"tab\there", b"line\nbreak", b"a\nD README.md")


def plant(remote: Remote, path: bytes) -> None:
    """Put a file of any name on `main`, which no work tree has to bear."""
    blob = git(remote.path, "hash-object", "-w", "--stdin", data=b"odd\n").strip()
    index = {**os.environ, **PEOPLE, "GIT_INDEX_FILE": str(remote.path / "index")}

    def run(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=remote.path, env=index, input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    run("read-tree", "main")
    run("update-index", "-z", "--index-info", data=b"100644 " + blob.encode() + b"\t" + path + b"\0")
    commit = run("commit-tree", "-p", "main", "-m", "Odd", run("write-tree"))
    git(remote.path, "update-ref", "refs/heads/main", commit)


def names(remote: Remote) -> list[bytes]:
    """Return the paths of all files of `main`, as git has them."""
    listed = subprocess.run(["git", "ls-tree", "-r", "-z", "--name-only", "main"], cwd=remote.path, capture_output=True,
                            check=True)  # fmt: skip
    return listed.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_file_is_called_it_goes_with_the_endpoint_and_nothing_else_does(
    repository: Remote, make_writer: Make, name: bytes
) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    others = [one for one in names(repository) if not one.startswith(folder(wanted).encode())]
    plant(repository, f"{folder(wanted)}/".encode() + name)
    found = make_writer()
    stand = found.stand(wanted.endpoint_id)
    assert stand.hold is not None and stand.hold.sentence.isprintable()
    (told,) = compared(found, wanted)
    assert told.kind == "File" and told.name.isprintable()
    assert found.sleep(wanted.endpoint_id) and found.remove(wanted.endpoint_id)
    assert names(repository) == others
    assert make_writer("other").remove(wanted.endpoint_id, sure=True) == "", "nothing is left to take away"


def compared(found: Writer, wanted: Any) -> list[Any]:
    """Return in what the repository differs from what would be written."""
    return differences(found, found.place, wanted, manifests.objects(found.place, wanted, "the-key"))


@pytest.mark.parametrize("where", ["gatehouse/aaa/dev", "gatehouse/zzz/dev", "gatehouse", "{own}/old"])
def test_a_copy_of_a_directory_is_not_the_endpoint(repository: Remote, make_writer: Make, where: str) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    own = folder(wanted)
    copy = f"{where.format(own=own)}/{own.rpartition('/')[2]}"
    files = [path for path in repository.files() if path.startswith(own)]
    repository.write({f"{copy}/{path.rpartition('/')[2]}": repository.read(path) for path in files})
    assert make_writer().stand(wanted.endpoint_id).folder == own
    assert list(make_writer().stands()) == [wanted.endpoint_id]
    make_writer().sleep(wanted.endpoint_id)
    assert "  replicas: 0" in repository.read(f"{own}/deployment-r1.yaml")
    assert "  replicas: 1" in repository.read(f"{copy}/deployment-r1.yaml")


def test_a_large_file_keeps_nobody_from_reading_the_others(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    repository.write({"gatehouse/big/dev/big-ep-1111111111111/provenance.json": "x" * 300_000})
    monkeypatch.setattr(program, "MOST_OUTPUT", 200_000)
    monkeypatch.setattr(mirror, "MOST_BLOB", 150_000)
    assert list(make_writer().stands()) == [wanted.endpoint_id]


def test_many_contents_are_read_in_parts(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    found = make_writer("other")
    found.stand(wanted.endpoint_id)
    ids = [git(repository.path, "rev-parse", f"main:{path}").strip() for path in repository.files()]
    monkeypatch.setattr(mirror, "READ_BYTES", 2000)
    assert set(found.repository.blobs([*ids, "0" * 40])) == set(ids)


@pytest.mark.parametrize(
    "text",
    [
        "metadata: null\n", "metadata: [1]\n", "metadata: {labels: 3}\n", "- a\n", "a: &a [1]\nb: *a\n",
        "kind: !!set {a}\n",
        "spec: {paused: 2024-01-01, 1: x, y: .nan}\nmetadata: {labels: {3: 4}}\n",
    ],
)  # fmt: skip
def test_a_file_of_anything_is_compared(repository: Remote, make_writer: Make, text: str) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    repository.write({f"{folder(wanted)}/deployment-r1.yaml": text})
    found = make_writer()
    found.stand(wanted.endpoint_id)
    told = compared(found, wanted)
    assert {one.kind for one in told} == {"Deployment"} and all(one.manager == "Mallory" for one in told)


# --- Sleep


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: yaml.dump(yaml.safe_load(text), indent=4),
        lambda text: text.replace("  replicas: 1\n", ""),
        lambda text: yaml.dump(yaml.safe_load(text), default_flow_style=True),
    ],
)
def test_sleep_leaves_a_file_that_can_be_built_however_it_was_written(
    repository: Remote, make_writer: Make, edit: Callable[[str], str]
) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = f"{folder(wanted)}/deployment-r1.yaml"
    repository.write({path: edit(repository.read(path))})
    make_writer().sleep(wanted.endpoint_id)
    found = manifest_of(repository.read(path).encode())
    assert found is not None and found["spec"]["replicas"] == 0 and found["spec"]["template"]["spec"]["containers"]
    assert not make_writer().stand(wanted.endpoint_id).wants


def test_what_is_no_deployment_any_more_is_taken_away(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = f"{folder(wanted)}/deployment-r1.yaml"
    repository.write({path: f"{repository.read(path)}---\n{repository.read(path)}"})
    make_writer().sleep(wanted.endpoint_id)
    assert path not in repository.files() and "Deployment" not in {one["kind"] for one in built(repository)}
    assert not make_writer().stand(wanted.endpoint_id).wants


# --- Lists of folders


@pytest.mark.parametrize("change", ["{}  # ours", "  - ./{}/", '  - "{}"'])
def test_no_list_names_anything_twice(repository: Remote, make_writer: Make, change: str) -> None:
    """Kustomize refuses a tree that names something twice, and with it all that stands in it."""
    first = workload()
    second = replace(first, endpoint_id="11111111-1111-4111-8111-111111111111", name="aaa")
    write(make_writer(), first)
    path = f"{folder(first).rpartition('/')[0]}/kustomization.yaml"
    text = repository.read(path)
    line = next(one for one in text.split("\n") if one.startswith("  - "))
    repository.write({path: text.replace(line, change.format(line if "#" in change else line[4:]), 1)})
    write(make_writer(), second)
    there = [one.removeprefix("./").rstrip("/") for one in yaml.safe_load(repository.read(path))["resources"]]
    assert len(there) == len(set(there)) and second.name in " ".join(there)


def test_an_item_that_the_portal_cannot_read_stays(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = f"{folder(wanted).rpartition('/')[0]}/kustomization.yaml"
    repository.write({path: repository.read(path) + '  - "with a blank.yaml"\n'})
    make_writer().remove(wanted.endpoint_id)
    assert yaml.safe_load(repository.read(path))["resources"][-1] == "with a blank.yaml"


# --- Re-apply


def beside(writer: Writer) -> Workload:
    """A second revision that is written beside the first one, which stays."""
    first = workload()
    write(writer, first)
    second = replace(first, revision=2, keep=(1,))
    write(writer, second)
    return second


def test_what_is_kept_is_written_again_as_it_was_approved(repository: Remote, make_writer: Make) -> None:
    second = beside(make_writer())
    path = f"{folder(second)}/deployment-r1.yaml"
    before = repository.read(path)
    repository.write({path: before.replace("  replicas: 1", "  replicas: 9")})
    write(make_writer(), second, over=True)
    assert repository.read(path) == before
    assert make_writer().stand(second.endpoint_id).hold is None


def test_what_nobody_knows_any_more_is_never_sealed(repository: Remote, make_writer: Make) -> None:
    """On a machine that never saw what stood there before."""
    second = beside(make_writer())
    path = f"{folder(second)}/deployment-r1.yaml"
    repository.write({path: repository.read(path).replace("  replicas: 1", "  replicas: 9")})
    mirror._blobs.clear()
    with pytest.raises(ClusterError) as caught:
        write(make_writer("other"), second, over=True)
    assert caught.value.code == "git_edited" and path in caught.value.sentence
    write(make_writer("other"), replace(second, keep=()), over=True)  # when it has ended it is not in the way
    assert path not in repository.files() and make_writer("other").stand(second.endpoint_id).hold is None


def test_a_secret_that_somebody_committed_is_not_told(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = f"{folder(wanted)}/deployment-r1.yaml"
    mine, theirs = "- name: HF_HOME\n          value: /models", "- value: hunter2\n          name: DB_PASSWORD"
    assert mine in repository.read(path)
    repository.write({path: repository.read(path).replace(mine, theirs)})
    hold = make_writer().stand(wanted.endpoint_id).hold
    assert hold is not None and "hunter2" not in hold.sentence and "value: (hidden)" in hold.sentence


# --- Branches


def test_branches_of_others_propose_nothing(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(**PROPOSING), wanted)
    repository.merge(next(one for one in repository.branches() if one.endswith("-r1")), squash=True)
    first = git(repository.path, "rev-list", "--max-parents=0", "main").strip()
    stem = folder(wanted).rpartition("-ep-")[2]
    git(repository.path, "update-ref", f"refs/heads/gatehouse/other-ep-{stem}-r9", first)
    odd = os.fsencode(repository.path) + b"/refs/heads/gatehouse/caf\xe9"
    with open(odd, "w", encoding="ascii") as file:
        file.write(f"{first}\n")
    for state in ("state", "other"):
        stand = make_writer(state, **PROPOSING).stand(wanted.endpoint_id)
        assert (stand.folder, stand.proposed, stand.wants) == (folder(wanted), "", {1: 1})


def test_a_machine_that_is_new_knows_what_was_merged_long_ago(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    for number in (1, 2):
        write(make_writer(**PROPOSING), replace(wanted, revision=number))
        repository.merge(next(one for one in repository.branches() if one.endswith(f"-r{number}")), squash=True)
        make_writer(**PROPOSING).stand(wanted.endpoint_id)
    stand = make_writer("new", **PROPOSING).stand(wanted.endpoint_id)
    assert (stand.proposed, stand.wants) == ("", {2: 1})


def test_a_new_machine_proposes_nothing_twice(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(**PROPOSING), wanted)
    found = make_writer("new", **PROPOSING)
    assert found.stand(wanted.endpoint_id).proposed and write(found, wanted) == ""


@pytest.mark.parametrize("what", ["sleep", "remove"])
def test_what_is_proposed_and_not_wanted_any_more_is_taken_back(
    repository: Remote, make_writer: Make, what: str
) -> None:
    """Merged later, it would start what nobody wants; and a deletion would wait for it for ever."""
    wanted = workload()
    write(make_writer(**PROPOSING), wanted)
    branch = next(one for one in repository.branches() if one.endswith("-r1"))
    before = git(repository.path, "rev-parse", branch).strip()
    assert getattr(make_writer(**PROPOSING), what)(wanted.endpoint_id)
    assert getattr(make_writer(**PROPOSING), what)(wanted.endpoint_id) == "", "it is taken back once"
    stand = make_writer(**PROPOSING).stand(wanted.endpoint_id)
    assert (stand.folder, stand.proposed) == ("", "") and repository.files(branch) == repository.files()
    git(repository.path, "merge-base", "--is-ancestor", before, branch)
    assert write(make_writer(**PROPOSING), wanted), "it can be asked for again"
    assert make_writer(**PROPOSING).stand(wanted.endpoint_id).proposed == branch


def test_who_resumes_takes_back_the_suspension_that_nobody_merged(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(**PROPOSING), wanted)
    repository.merge(next(one for one in repository.branches() if one.endswith("-r1")), squash=True)
    make_writer(**PROPOSING).sleep(wanted.endpoint_id)
    assert make_writer(**PROPOSING).stand(wanted.endpoint_id).wants == {1: 0}
    assert write(make_writer(**PROPOSING), wanted) == ""
    stand = make_writer(**PROPOSING).stand(wanted.endpoint_id)
    assert (stand.proposed, stand.wants) == ("", {1: 1})


def test_a_revision_that_is_kept_stays_proposed(repository: Remote, make_writer: Make) -> None:
    first = workload()
    write(make_writer(**PROPOSING), first)
    repository.merge(next(one for one in repository.branches() if one.endswith("-r1")), squash=True)
    make_writer(**PROPOSING).stand(first.endpoint_id)
    write(make_writer(**PROPOSING), replace(first, revision=2, keep=(1,)))
    write(make_writer(**PROPOSING), replace(first, keep=(2,)))
    assert make_writer(**PROPOSING).stand(first.endpoint_id).proposed.endswith("-r2")
    write(make_writer(**PROPOSING), first)  # its rollout was called off
    assert make_writer(**PROPOSING).stand(first.endpoint_id).proposed == ""


# --- What was seen last


@pytest.mark.parametrize("what", ["sleep", "remove"])
def test_nothing_is_said_to_be_gone_before_the_remote_says_so(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    wanted, other = workload(), make_writer("other")
    other.stand(wanted.endpoint_id)
    write(make_writer(), wanted)
    monkeypatch.setattr("endpoints.clusters.gitops.source.FETCH_SECONDS", 60.0)
    assert getattr(other, what)(wanted.endpoint_id) == "", "it has not seen the commit of the other machine"
    assert getattr(other, what)(wanted.endpoint_id, sure=True)
    repository.path.rename(repository.path.with_name("gone.git"))
    with pytest.raises(ClusterError) as caught:
        getattr(make_writer("new"), what)(wanted.endpoint_id, sure=True)
    assert caught.value.code == "git_repository_missing"


def test_a_history_that_is_too_long_to_fetch_is_cut(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        repository.write({"README.md": f"{number}\n"})
    wanted, asked = workload(), list[tuple[str, ...]]()
    write(make_writer(), wanted)
    repository.rewind(3)  # what is left lies behind where the copy ends
    run = Repository._run

    def slow(self: Repository, lock: int, *arguments: str, **how: Any) -> program.Ran:
        asked.append(arguments)
        short = any(one.startswith("--depth") for one in arguments)
        return run(self, lock, *arguments, **how) if short else program.Ran(-1, late=True)

    monkeypatch.setattr(Repository, "_run", slow)
    monkeypatch.setattr("endpoints.clusters.gitops.repository.REST_SECONDS", (0.0,))
    for _ in range(3):
        problem = make_writer().stand(wanted.endpoint_id).problem
        assert problem is not None and problem.code == "git_slow"
    assert make_writer().stand(wanted.endpoint_id).problem is None
    assert make_writer().repository.tip() == git(repository.path, "rev-parse", "main").strip()


def test_a_server_that_is_away_is_no_reason_to_search_the_copy(
    repository: Remote, make_writer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, asked = workload(), list[str]()
    write(make_writer(), wanted)
    repository.path.rename(repository.path.with_name("gone.git"))
    here = Repository._here

    def noted(self: Repository, *words: str, **how: Any) -> program.Ran:
        asked.append(words[0])
        return here(self, *words, **how)

    monkeypatch.setattr(Repository, "_here", noted)
    stand = make_writer().stand(wanted.endpoint_id)
    assert stand.wants == {1: 1} and stand.problem is not None and "fsck" not in asked
