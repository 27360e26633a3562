"""What the portal commits, and what it leaves alone: over a real repository on this machine."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from endpoints.clusters import ClusterError, Workload, manifest_text
from endpoints.clusters.kubernetes import manifests
from tests.endpoints.git_kit import Remote, built, git
from tests.endpoints.gitops_kit import Make, folder, write
from tests.endpoints.kubernetes_kit import place, workload

pytestmark = pytest.mark.slow


def test_a_commit_holds_the_whole_endpoint_and_never_its_key(repository: Remote, make_writer: Make) -> None:
    wanted = workload(replicas=2)
    commit = write(make_writer(), wanted)
    assert repository.count() == 2 and git(repository.path, "rev-parse", "main").strip() == commit
    kinds = {(one["kind"], one["metadata"]["name"]) for one in built(repository)}
    assert {kind for kind, _ in kinds} == {
        "Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Service", "Deployment",
        "PodDisruptionBudget",
    }  # fmt: skip
    (deployment,) = [one for one in built(repository) if one["kind"] == "Deployment"]
    notes = deployment["metadata"]["annotations"]
    assert notes["gatehouse.example/approval"] == "REQ-7" and deployment["spec"]["replicas"] == 2
    assert "the-key" not in "".join(repository.read(path) for path in repository.files())
    words = repository.message()
    assert (
        f"Gatehouse-Endpoint: {wanted.endpoint_id}\nGatehouse-Request: REQ-7\nGatehouse-Decision: sha256:abc\n" in words
    )
    assert words.strip().endswith("Signed-off-by: Gatehouse <gatehouse@localhost>")
    assert repository.read("README.md") == "The fleet.\n", "what is not the portal's stays"


def test_the_same_again_is_no_commit_also_from_another_machine(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    before = git(repository.path, "rev-parse", "main")
    assert write(make_writer(), wanted) == "" and write(make_writer("elsewhere"), wanted) == ""
    assert git(repository.path, "rev-parse", "main") == before


def test_endpoints_share_their_space_and_stand_apart(repository: Remote, make_writer: Make) -> None:
    first, second, other = workload(), workload(name="chat"), workload(project="risk", environment_name="prod")
    for one in (first, second, other):
        write(make_writer(), one)
    assert {path.rpartition("/")[0] for path in repository.files() if "deployment" in path} == {
        folder(one) for one in (first, second, other)
    }
    assert len([one for one in built(repository) if one["kind"] == "Namespace"]) == 2
    make_writer().remove(first.endpoint_id)
    assert not [path for path in repository.files() if path.startswith(folder(first))]
    assert len([one for one in built(repository) if one["kind"] == "Deployment"]) == 2


def test_revisions_stand_beside_each_other_as_long_as_they_are_kept(repository: Remote, make_writer: Make) -> None:
    first = workload()
    write(make_writer(), first)
    second = replace(first, revision=2, keep=(1,))
    write(make_writer(), second)
    assert make_writer().stand(first.endpoint_id).wants == {1: 1, 2: 1}
    write(make_writer(), replace(second, keep=()), start=False)  # engines of the first still run
    assert make_writer().stand(first.endpoint_id).wants == {2: 1}
    assert [one["metadata"]["name"][-2:] for one in built(repository) if one["kind"] == "Deployment"] == ["r2"]


def test_sleep_changes_one_line_and_waking_takes_it_back(repository: Remote, make_writer: Make) -> None:
    wanted = workload(replicas=3)
    write(make_writer(), wanted)
    path = f"{folder(wanted)}/deployment-r1.yaml"
    before = repository.read(path)
    assert make_writer().sleep(wanted.endpoint_id) and make_writer().sleep(wanted.endpoint_id) == ""
    after = repository.read(path)
    assert [pair for pair in zip(before.split("\n"), after.split("\n"), strict=True) if pair[0] != pair[1]] == [
        ("  replicas: 3", "  replicas: 0")
    ]
    assert (
        make_writer().stand(wanted.endpoint_id).wants == {1: 0} and make_writer().stand(wanted.endpoint_id).hold is None
    )
    write(make_writer(), wanted)
    assert repository.read(path) == before


def test_autoscaled_engines_sleep_too(repository: Remote, make_writer: Make) -> None:
    wanted, options = workload(replicas=3), {"autoscaler": "hpa"}
    write(make_writer(**options), wanted)
    make_writer(**options).sleep(wanted.endpoint_id)
    (deployment,) = [one for one in built(repository) if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 0
    assert not [one for one in built(repository) if one["kind"] == "HorizontalPodAutoscaler"]


# --- Edits by hand


def edited(repository: Remote, wanted: Workload) -> str:
    """Somebody gives an endpoint more replicas in Git; returns the file."""
    path = f"{folder(wanted)}/deployment-r{wanted.revision}.yaml"
    repository.fetch()
    repository.write({path: repository.read(path).replace("  replicas: 1", "  replicas: 7")})
    return path


def test_an_edit_is_told_with_file_line_and_author_and_never_written_over(
    repository: Remote, make_writer: Make
) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = edited(repository, wanted)
    before = git(repository.path, "rev-parse", "main")
    hold = make_writer("elsewhere").stand(wanted.endpoint_id).hold  # told by any machine
    hold = make_writer().stand(wanted.endpoint_id).hold or hold
    assert hold is not None and (hold.code, hold.turn) == ("git_edited", "platform")
    for words in ("Mallory", path, "“replicas: 7” where “replicas: 1” was approved", "takes that back in Git"):
        assert words in hold.sentence
    for change in (wanted, replace(wanted, replicas=2), replace(wanted, revision=2)):
        with pytest.raises(ClusterError) as caught:
            write(make_writer(), change)
        assert caught.value.code == "git_edited" and caught.value.retry
    assert git(repository.path, "rev-parse", "main") == before


def test_taking_it_back_lets_the_portal_go_on(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    edited(repository, wanted)
    git(repository.clone, "revert", "--no-edit", "HEAD")
    git(repository.clone, "push", "--quiet", "origin", "HEAD:main")
    assert make_writer().stand(wanted.endpoint_id).hold is None
    assert write(make_writer(), replace(wanted, replicas=2))


def test_a_person_may_have_it_written_over(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    path = edited(repository, wanted)
    assert write(make_writer(), wanted, over=True)
    assert "replicas: 1" in repository.read(path) and make_writer().stand(wanted.endpoint_id).hold is None


@pytest.mark.parametrize("what", ["deleted", "added", "link", "seal", "list", "space"])
def test_every_kind_of_edit_is_seen(repository: Remote, make_writer: Make, what: str) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    repository.fetch()
    base = folder(wanted)
    edits: dict[str, dict[str, str | bytes | Path | None]] = {
        "deleted": {f"{base}/service-r1.yaml": None},
        "added": {f"{base}/evil.yaml": "kind: Pod\n"},
        "link": {f"{base}/deployment-r1.yaml": Path("/etc/passwd")},
        "seal": {f"{base}/provenance.json": repository.read(f"{base}/provenance.json").replace("REQ-7", "REQ-8")},
        "list": {f"{base}/kustomization.yaml": "resources: []\n"},
        "space": {f"{base.rpartition('/')[0]}/networkpolicy-gatehouse-default-deny.yaml": "kind: Pod\n"},
    }
    repository.write(edits[what])
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), replace(wanted, replicas=2))
    assert caught.value.code == "git_edited"


def test_what_somebody_took_away_is_not_put_back(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    listing = f"{folder(wanted).rpartition('/')[0]}/kustomization.yaml"
    repository.fetch()
    repository.write(
        {
            folder(wanted): None,
            listing: repository.read(listing).replace(f"  - {folder(wanted).rpartition('/')[2]}\n", ""),
        }
    )
    make_writer().stand(wanted.endpoint_id)
    with pytest.raises(ClusterError) as caught:
        write(make_writer(), wanted)
    assert caught.value.code == "git_taken_away" and "Mallory" in caught.value.sentence
    assert write(make_writer(), wanted, over=True)


def test_people_may_add_to_the_lists_of_folders(repository: Remote, make_writer: Make) -> None:
    first, second = workload(), workload(name="chat")
    write(make_writer(), first)
    listing = f"{folder(first).rpartition('/')[0]}/kustomization.yaml"
    repository.fetch()
    repository.write({
        listing: "# ours\n" + repository.read(listing) + "labels:\n- pairs: {team: risk}\n",
        f"{folder(first).rpartition('/')[0]}/kustomization.yaml": "# ours\n" + repository.read(listing),
    })  # fmt: skip
    write(make_writer(), second)
    assert (
        repository.read(listing).startswith("# ours\n")
        and len([one for one in built(repository) if one["kind"] == "Deployment"]) == 2
    )


def test_a_stop_needs_no_decision_and_leaves_the_edit(repository: Remote, make_writer: Make) -> None:
    wanted = workload()
    write(make_writer(), wanted)
    repository.fetch()
    path = f"{folder(wanted)}/deployment-r1.yaml"
    repository.write({path: repository.read(path) + "# a word of mine\n"})
    make_writer().sleep(wanted.endpoint_id)
    assert "replicas: 0" in repository.read(path) and "# a word of mine" in repository.read(path)
    assert make_writer().stand(wanted.endpoint_id).hold is not None
    make_writer().remove(wanted.endpoint_id)
    assert make_writer().stand(wanted.endpoint_id).folder == ""


def test_what_is_written_is_plain_yaml_that_says_the_same(repository: Remote, make_writer: Make) -> None:
    wanted = workload(replicas=2, node_selector={"gpu": "h100"}, tolerations=({"key": "a", "operator": "Exists"},))
    write(make_writer(), wanted)
    made = manifests.objects(place(), wanted, "the-key")
    told = {(one["kind"], one["metadata"]["name"]): one for one in built(repository)}
    for one in made:
        if one["kind"] != "Secret":
            assert told[one["kind"], one["metadata"]["name"]] == yaml.safe_load(
                yaml.safe_dump(manifest_text.plain(one))
            )
