"""Names of what is installed in a cluster, its modes, and what it refuses in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["off", "audit", "enforce"]
MODES: tuple[Mode, ...] = ("off", "audit", "enforce")
GROUP = "gatehouse.example"  # of its own: the role `edit` of a namespace reaches only the groups that it names
VERSION = "v1"
KIND, PLURAL = "ApprovedWorkloads", "approvedworkloads"
NAME = "gatehouse"  # of the one object of a namespace
DIGEST = f"{GROUP}/rendered"  # annotation: what was rendered together
KSERVE_NAMESPACE = "kserve"
# Who makes Deployments of InferenceServices: KServe's own, and those of OpenShift AI.
_KSERVE = ("kserve-controller-manager", "llmisvc-controller-manager", "odh-model-controller")
POLICIES = ("approved", "rules", "advice", "guard")
BINDINGS = ("approved", "approved-changes", "rules", "advice", "guard")


@dataclass(frozen=True)
class Rule:
    """A `workload` rule of a policy bundle: `expression` (and `when`, if any) over `object`, `severity` deny, warn or
    info."""

    id: str
    title: str
    severity: str
    expression: str
    message: str
    fix: str = ""
    when: str = ""


@dataclass(frozen=True)
class Plan:
    """For whom is rendered: `prefix` of the portal's namespaces and of names, `installation` that they are labelled
    with, `mode`, the user name of the portal in the cluster
    (`account`), those of KServe's controllers, and the rules of the policy bundle that counts, with its `version`.
    """

    prefix: str
    installation: str
    mode: Mode
    account: str
    controllers: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A rule that the cluster cannot judge, and why."""

    id: str
    title: str
    why: str


@dataclass(frozen=True)
class Rendered:
    """The objects in the order of `kubectl apply`, their common digest, what they refuse in words, and what is left
    out."""

    objects: tuple[Mapping[str, Any], ...]
    digest: str
    refuses: tuple[str, ...] = ()
    advises: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def name(prefix: str, part: str) -> str:
    """Return the name of a policy or a binding; `part` is one of POLICIES or BINDINGS."""
    return f"{prefix}-{part}"


def controllers(namespace: str) -> tuple[str, ...]:
    """Return the user names of KServe's controllers, which run in `namespace`."""
    return tuple(f"system:serviceaccount:{namespace}:{one}" for one in _KSERVE)
