"""The connection test of a Kubernetes cluster: from "does anything answer" to each verb that the driver needs.

It changes nothing in the cluster, and ends after `checks.SECONDS` whatever the other side does: what was not reached by
then is said to be not asked.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.checks import SECONDS, Check, Report
from endpoints.clusters.kubernetes import checking_admission, owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.wire import certificate_checks
from endpoints.clusters.rbac import Ask, asks

LEAST = (1, 30)  # admission policies are stable from this version on
AT_ONCE = 8  # questions that are on their way at the same time
NODES = 500  # of which accelerators are counted
OWN_RESOURCES = ("kubernetes.io", "hugepages-")  # what every node has
ANONYMOUS = "system:anonymous"
LATE = "time_over"  # beside the codes of ClusterError
APPLY = "Download the manifest from the cluster's page and apply it again: kubectl apply -f gatehouse-access.yaml"
NEW = "Make a new token or certificate and give it to the cluster here."
LATER = "Test again. If it stays like this, the cluster's API is too slow for what it is asked."
MISSING = frozenset({"not_found", "kind_missing"})
Body = dict[str, Any]


@dataclass(frozen=True)
class _Answer:
    """What the server answered, or with `code` why it did not."""

    body: Body
    code: str = ""
    said: str = ""


class _Api:
    """Questions to one API server side by side, all within one deadline: what drips or hangs is left behind."""

    def __init__(self, client: Client, ends: float) -> None:
        self._client, self._ends = client, ends
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="checking")

    def begin(self, method: str, path: str, body: Body | None = None, **query: str) -> Callable[[], _Answer]:
        """Ask, and return what waits for the answer."""
        future = self._pool.submit(self._client.ask, method, path, query, body)
        return lambda: self._wait(future)

    def ask(self, method: str, path: str, body: Body | None = None, **query: str) -> _Answer:
        """Return the answer."""
        return self.begin(method, path, body, **query)()

    def close(self) -> None:
        """Drop what was not begun; what is on its way ends by the client's own deadlines."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wait(self, future: "Future[Body]") -> _Answer:
        try:
            return _Answer(future.result(max(self._ends - time.monotonic(), 0.0)))
        except TimeoutError:
            return _Answer({}, LATE, "The time for the test was over.")
        except ClusterError as error:
            return _Answer({}, error.code, error.sentence)


def examine(
    place: Place,
    driver: str,
    *,
    whole: bool = True,
    seconds: float = SECONDS,
    policies: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Return what a test of `place` finds within about `seconds`; with `whole` not, whether it is there and as what.
    `policies`: the objects by which it should refuse what was not approved, if any.

    Never raises for what the cluster does.
    """
    ends = time.monotonic() + seconds
    checks = list(certificate_checks(place, ends))
    if any(check.verdict == "fail" for check in checks):
        seen = checks[0].verdict == "pass"
        return Report((*checks, *_unasked(driver, whole, {check.name for check in checks})), seen=seen)
    try:
        api = _Api(Client(place), ends)
    except ClusterError as error:
        checks.append(Check("credential", "fail", error.sentence, "Give the cluster a new credential."))
        return Report((*checks, *_unasked(driver, whole, {"reachable", "certificate", "credential"})), seen=True)
    try:
        found, version = _asked(api, place, driver, whole, policies)
    finally:
        api.close()
    return Report((*checks, *found), version, seen=True)


def _asked(
    api: _Api, place: Place, driver: str, whole: bool, policies: Sequence[Mapping[str, Any]]
) -> tuple[list[Check], str]:
    known, (said, version) = _credential(api), _version(api)
    checks = [known, said]
    if known.verdict == "fail" or not whole:
        rest = _unasked(driver, whole, {"reachable", "certificate", "credential", "version"})
        return [*checks, *(rest if whole else ())], version
    checks += _permissions(api, place, driver)
    if driver == "kserve":
        checks.append(_kserve(api, place))
    if policies:
        checks.append(_admission(api, place, policies))
    return [*checks, _accelerators(api), _metrics(api)], version


def _unasked(driver: str, whole: bool, known: set[str]) -> Iterator[Check]:
    """Yield the checks that something before them made pointless."""
    names = ["reachable", "certificate", "credential", "version"]
    if whole:
        names += ["permissions", *(["kserve"] if driver == "kserve" else []), "accelerators", "metrics"]
    for name in names:
        if name not in known:
            yield Check(name, "skip", "Not asked, since what comes before it failed.")


def _credential(api: _Api) -> Check:
    """Whom the cluster takes the portal for."""
    answer = api.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", _review("authentication", {}))
    name = str(((answer.body.get("status") or {}).get("userInfo") or {}).get("username") or "")
    if name and name != ANONYMOUS:
        return Check("credential", "pass", f"The cluster knows the portal as {name[:150]}.", state=name[:200])
    if answer.code == "token_refused":
        return Check("credential", "fail", "The cluster refuses the credential: it has ended or was revoked.", NEW)
    if name == ANONYMOUS or answer.code == "not_signed_in":
        return Check("credential", "fail", "The cluster does not know the credential: the portal is nobody there.", NEW)
    if answer.code in MISSING:
        return Check("credential", "skip", "The cluster is too old to say whom it takes the portal for.")
    return Check("credential", "skip", _not_said(answer), _mend(answer))


def _version(api: _Api) -> tuple[Check, str]:
    answer = api.ask("GET", "/version")
    text = str(answer.body.get("gitVersion") or "")[:40]
    found = re.match(r"v?(\d+)\.(\d+)", text)
    least = ".".join(map(str, LEAST))
    if found is None:
        return Check("version", "skip", _not_said(answer), _mend(answer)), ""
    if (int(found[1]), int(found[2])) < LEAST:
        sentence = f"It runs Kubernetes {text}; the portal needs {least} or newer."
        return Check("version", "fail", sentence, f"Upgrade the cluster to Kubernetes {least} or newer."), text
    return Check("version", "pass", f"It runs Kubernetes {text}."), text


def _permissions(api: _Api, place: Place, driver: str) -> list[Check]:
    """One check for each verb on each resource, asked side by side."""
    wanted = [(one, _may(api, one)) for one in asks(driver, place.settings)]
    return [_permission(one, wait()) for one, wait in wanted]


def _may(api: _Api, one: Ask) -> Callable[[], _Answer]:
    resource, _, part = one.resource.partition("/")
    attributes = {"group": one.group, "resource": resource, "subresource": part, "verb": one.verb, "name": one.name}
    review = _review("authorization", {"resourceAttributes": attributes})
    return api.begin("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)


def _permission(one: Ask, answer: _Answer) -> Check:
    status = answer.body.get("status") or {}
    if "allowed" not in status:
        return Check("permissions", "skip", _not_said(answer), _mend(answer), one.words)
    if status["allowed"]:
        return Check("permissions", "pass", one.why, what=one.words)
    return Check("permissions", "fail", f"The account may not {one.words}. {one.why}", APPLY, one.words)


def _review(group: str, spec: Body) -> Body:
    kind = "SelfSubjectReview" if group == "authentication" else "SelfSubjectAccessReview"
    return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind} | ({"spec": spec} if spec else {})


def _admission(api: _Api, place: Place, policies: Sequence[Mapping[str, Any]]) -> Check:
    """Whether the policies are there, in which mode, and as they would be rendered now."""

    def begin(path: str) -> Callable[[], tuple[Body, str]]:
        wait = api.begin("GET", path)

        def told() -> tuple[Body, str]:
            answer = wait()
            return answer.body, answer.code

        return told

    return checking_admission.check(begin, owned.prefix(place.settings), str(place.settings.get("admission")), policies)


def _kserve(api: _Api, place: Place) -> Check:
    """Whether the kind that the driver makes is there, in the version that it speaks."""
    large = place.settings.get("serving_api") == "llm"
    resource, version = ("llminferenceservices", "v1alpha2") if large else ("inferenceservices", "v1beta1")
    kind = f"{'LLMInferenceService' if large else 'InferenceService'} {version}"
    answer = api.ask("GET", f"/apis/serving.kserve.io/{version}")
    if resource in {str(one.get("name")) for one in answer.body.get("resources") or [] if isinstance(one, dict)}:
        return Check("kserve", "pass", f"The cluster serves {kind}.")
    if answer.code and answer.code not in MISSING:
        return Check("kserve", "skip", _not_said(answer), _mend(answer))
    fix = "Install KServe 0.20 or newer with its CRDs, or register the cluster with the driver kubernetes."
    return Check("kserve", "fail", f"The cluster does not serve {kind}.", fix)


def _accelerators(api: _Api) -> Check:
    answer = api.ask("GET", "/api/v1/nodes", limit=str(NODES))
    if answer.code:
        return Check("accelerators", "skip", _not_said(answer), _mend(answer))
    nodes = [one for one in answer.body.get("items") or [] if isinstance(one, dict)]
    total: Counter[str] = Counter()
    for node in nodes:
        for name, amount in ((node.get("status") or {}).get("allocatable") or {}).items():
            if "/" in name and not any(part in name for part in OWN_RESOURCES) and str(amount).isdigit():
                total[name] += int(amount)
    many = f"{len(nodes):,} node{'' if len(nodes) == 1 else 's'}"
    offered = ", ".join(f"{amount:,} {name}" for name, amount in sorted(total.items()) if amount)
    if offered:
        return Check("accelerators", "pass", f"{many} offer{'s' if len(nodes) == 1 else ''} {offered[:300]}.")
    return Check(
        "accelerators",
        "warn",
        f"No accelerator is offered by {many}. Only endpoints without one can run.",
        "Install the device plugin or GPU operator of the vendor, and look at `kubectl describe node`.",
    )


def _metrics(api: _Api) -> Check:
    answer = api.ask("GET", "/apis")
    groups = {str(one.get("name")) for one in answer.body.get("groups") or [] if isinstance(one, dict)}
    if "metrics.k8s.io" in groups:
        return Check("metrics", "pass", "The cluster serves metrics.k8s.io.")
    if answer.code:
        return Check("metrics", "skip", _not_said(answer), _mend(answer))
    return Check(
        "metrics",
        "warn",
        "The cluster serves no metrics.k8s.io: scaling by load has nothing to go by.",
        "Install metrics-server, or leave scaling by load switched off.",
    )


def _mend(answer: _Answer) -> str:
    """What would bring the answer that is missing."""
    return {"permission_missing": APPLY, "token_refused": NEW, "not_signed_in": NEW}.get(answer.code, LATER)


def _not_said(answer: _Answer) -> str:
    return f"Not known: {answer.said or 'the answer was none of this API.'}"
