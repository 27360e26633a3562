"""The connection test of a cluster with a repository: what the cluster lacks, and whether the portal may read and push.

Nothing is changed in either.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.checks import SECONDS, Check, Report
from endpoints.clusters.gitops import applier
from endpoints.clusters.gitops.repository import Repository
from endpoints.clusters.kubernetes import checking
from endpoints.clusters.kubernetes.client import Client

FIXES = {
    "git_unreachable": "Look at address, port and firewall between the portal's workers and the Git server.",
    "git_slow": "Look at the Git server; test again.",
    "git_host_key": "Compare the host key with what its administrators published, then give the cluster known hosts.",
    "git_certificate": "Give the repository the authority (CA) of the Git server, or renew the certificate.",
    "git_credential": "Make a new deploy key or token that may write, and give it to the cluster here.",
    "git_repository_missing": "Correct the address, or give the portal's account access to the repository.",
    "git_branch_missing": "Make the branch with a first commit, or correct the option of the cluster.",
    "git_rejected": "Allow the portal's account to push there.",
    "git_missing": "Install git and the client of OpenSSH where the portal's workers run.",
}


def examine(
    place: Place, driver: str, *, whole: bool = True, seconds: float = SECONDS,
    policies: Sequence[Mapping[str, Any]] = (),
) -> Report:  # fmt: skip
    """Return what a test of `place` finds within about twice `seconds`; with `whole` not, whether cluster and
    repository are there. Never raises for what either does.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="repository")
    try:
        waiting = pool.submit(lambda: list(_repository(place, seconds, whole=whole)))
        report = checking.examine(place, driver, whole=whole, seconds=seconds, policies=policies)
        checks = [*report.checks, *waiting.result()]
    finally:
        pool.shutdown(wait=False)
    if whole and not any(check.verdict == "fail" for check in report.checks[:3]):
        checks += _applier(place)
    return Report(tuple(checks), report.version, report.seen)


def _repository(place: Place, seconds: float, *, whole: bool) -> Iterator[Check]:
    repository = Repository(place)
    try:
        found = repository.branches(seconds)
    except ClusterError as error:
        yield _failed("repository", error)
        if whole:
            yield Check("repository_push", "skip", "Not asked, since what comes before it failed.")
        return
    commit = found.get(repository.branch)
    if commit is None:
        yield Check(
            "repository", "fail", f"The repository has no branch {repository.branch}.", FIXES["git_branch_missing"]
        )
    else:
        yield Check("repository", "pass", f"The branch {repository.branch} is at {commit[:12]}.", state=commit)
    if whole:
        try:
            repository.may_push(seconds)
        except ClusterError as error:
            yield _failed("repository_push", error)
        else:
            yield Check("repository_push", "pass", "A push was tried that changes nothing, and would be taken.")


def _failed(name: str, error: ClusterError) -> Check:
    happened = error.sentence.removesuffix(error.next).strip()
    verdict = "skip" if error.code == "git_busy" else "fail"
    return Check(name, verdict, happened or error.sentence, FIXES.get(error.code, error.next))  # type: ignore[arg-type]


def _applier(place: Place) -> list[Check]:
    """Whether the object of Argo CD or Flux is there and follows."""
    name, where = str(place.settings.get("applier") or ""), str(place.settings.get("applier_object") or "")
    if name not in applier.KINDS:
        return []
    if "/" not in where:
        fix = "Give the cluster the option applier_object, such as argocd/fleet."
        return [
            Check("applier", "warn", f"Nobody said which object of {applier.NAMES[name]} applies the repository.", fix)
        ]
    namespace, _, own = where.partition("/")
    try:
        found = Client(place).get(applier.KINDS[name], own, namespace)
    except ClusterError as error:
        return [Check("applier", "fail", error.sentence, error.next)]
    told = applier.told(name, where, found, "")
    if found is None:
        return [Check("applier", "fail", f"{told.words}.", "Make it, or correct the option applier_object.")]
    fix = "Look at it there." if told.failed else ""
    return [Check("applier", "warn" if told.failed else "pass", f"{told.words}.", fix, state=told.commit)]
