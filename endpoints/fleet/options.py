"""What an engineer chooses about how the portal behaves in a cluster: a table, for the form, the API and the check."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from portal.errors import Invalid

NAME = r"[a-z]([-a-z0-9]*[a-z0-9])?"
GIT = "git"
NAME_WORDS = "it takes lower-case letters, digits and hyphens, and begins with a letter"


@dataclass(frozen=True)
class Option:
    """One option: what it must look like, at most `most` characters; `fixed` while endpoints live on the cluster."""

    label: str
    help: str
    default: str = ""
    most: int = 63
    pattern: str = NAME
    words: str = NAME_WORDS
    choices: tuple[tuple[str, str], ...] = ()
    fixed: bool = False
    group: str = ""  # under which heading of the form it stands; "": with what every driver knows


OPTIONS: Mapping[str, Option] = {
    # Names of namespaces have 63 characters: 40 for the project, 7 for the environment, 2 hyphens, and the rest.
    "namespace_prefix": Option(
        "Prefix of namespaces",
        "Each project gets a namespace for each environment: prefix-project-environment.",
        default="gatehouse",
        most=14,
        fixed=True,
    ),
    "installation": Option(
        "Mark of this portal",
        "On all that it writes: what bears another mark belongs to another portal and is left alone. Empty: a new one.",
        fixed=True,
    ),
    "gateway_namespace": Option(
        "Namespace of the gateway", "From it, engines may be called through their network policy. Empty: not at all."
    ),
    "queue_name": Option(
        "Queue (Kueue)", "Engines are labelled for this LocalQueue. Empty: the scheduler alone decides."
    ),
    "image_pull_secret": Option(
        "Pull secret for images", "A secret of that name in each namespace, from the cluster's administrators."
    ),
    "model_secret": Option("Secret for weights", "A secret whose key “token” opens the model hub. Empty: none."),
    "run_as_user": Option(
        "User of engines",
        "A number, or “image” where the cluster chooses, as OpenShift does.",
        default="1000",
        most=10,
        pattern=r"[1-9][0-9]*|image",
        words="it takes a number above 0, or the word image",
    ),
    "autoscaler": Option(
        "Replicas by load",
        "KEDA needs the address of Prometheus below, and the manifest anew.",
        choices=(("", "as many as were approved"), ("hpa", "HorizontalPodAutoscaler"), ("keda", "KEDA")),
    ),
    "serving_api": Option(
        "Objects of KServe",
        "LLMInferenceService brings a router of its own and is for vLLM only. For the driver kserve.",
        choices=(("", "InferenceService"), ("llm", "LLMInferenceService")),
        fixed=True,
    ),
    "kserve_namespace": Option(
        "Namespace of KServe",
        "Where its controllers run: the admission policy lets them make what they make of approved objects.",
        default="kserve",
    ),
    "drift": Option(
        "What is changed by hand",
        "What bears on the approval is written again at once, whatever is chosen here: image, command, security, "
        "accelerators, more replicas.",
        choices=(("", "show it, until somebody decides"), ("revert", "write all of it again at once")),
    ),
    "git_branch": Option(
        "Branch",
        "The branch that whoever applies the repository follows.",
        default="main",
        most=100,
        pattern=r"(?!.*\.\.)(?!gatehouse(/|$))[A-Za-z0-9]([A-Za-z0-9._-]|/(?=[A-Za-z0-9]))*(?<![./])(?<!\.lock)",
        words="it takes the name of a branch, such as main or env/prod, and not gatehouse/…, where proposals stand",
        group=GIT,
    ),
    "git_directory": Option(
        "Directory",
        "Everything of the portal stands below it: project, environment, endpoint.",
        default="gatehouse",
        most=100,
        pattern=r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*(?<![./])",
        words="it takes lower-case letters, digits, dots and hyphens, and “/” between parts",
        fixed=True,
        group=GIT,
    ),
    "git_flow": Option(
        "How changes get in",
        "By pull request, each change waits on a branch of its own until somebody merges it.",
        choices=(("", "Commits to the branch"), ("pull_request", "Branches for pull requests")),
        group=GIT,
    ),
    "git_author_name": Option(
        "Author of commits",
        "As whom the portal signs off.",
        default="Gatehouse",
        most=80,
        pattern=r"[\w .,'()+-]+",
        words="it takes letters, digits, spaces and .,'()+-",
        group=GIT,
    ),
    "git_author_email": Option(
        "Address of the author",
        "What is committed under another address counts as changed by hand.",
        default="gatehouse@localhost",
        most=120,
        pattern=r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+",
        words="it takes an e-mail address",
        group=GIT,
    ),
    "applier": Option(
        "Who applies it",
        "Its object in the cluster tells why something is not applied yet; needs the manifest anew.",
        choices=(("", "Something else"), ("argocd", "Argo CD"), ("flux", "Flux")),
        group=GIT,
    ),
    "applier_object": Option(
        "Its object",
        "Namespace and name of the Application or Kustomization: argocd/fleet.",
        most=160,
        pattern=r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        words="it takes namespace/name",
        group=GIT,
    ),
    "prometheus": Option(
        "Prometheus",
        "Its address inside the cluster, for KEDA: http://prometheus.monitoring:9090.",
        most=300,
        pattern=r"https?://[A-Za-z0-9.:/_-]+",
        words="it takes an address that begins with http:// or https://, without a query",
    ),
}


def clean(given: Mapping[str, object]) -> dict[str, str]:
    """Return the options in `given` with the defaults of those that it leaves out; raises Invalid naming the option."""
    unknown = sorted(str(name)[:40] for name in given if name not in OPTIONS)
    if unknown:
        raise Invalid.field("options", f"There is no option {unknown[0]}; choose from {', '.join(OPTIONS)}.")
    cleaned = {name: _value(name, option, given.get(name, option.default)) for name, option in OPTIONS.items()}
    if cleaned["applier"] and not cleaned["applier_object"]:
        raise Invalid.field("applier_object", "applier_object is missing: name the object, as argocd/fleet.")
    if cleaned["autoscaler"] == "keda" and not cleaned["prometheus"]:
        raise Invalid.field("prometheus", "prometheus is missing: KEDA asks it for the load. Give its address.")
    return cleaned


def marked(cleaned: dict[str, str]) -> dict[str, str]:
    """Return the options of a new registration, with a mark that no other portal has unless one was given."""
    own = f"{cleaned['namespace_prefix']}-{secrets.token_hex(4)}"
    return cleaned | {"installation": cleaned["installation"] or own}


def is_prefix(text: str) -> bool:
    """Whether namespaces may begin with `text`."""
    option = OPTIONS["namespace_prefix"]
    return len(text) <= option.most and re.fullmatch(option.pattern, text) is not None


def _value(name: str, option: Option, given: object) -> str:
    if not isinstance(given, str):
        raise Invalid.field(name, f"{name} must be text.")
    value = given.strip() or option.default
    if option.choices:
        known = [choice for choice, _ in option.choices]
        if value not in known:
            raise Invalid.field(name, f"{name} is {value[:20]!r}; choose {', '.join(filter(None, known))} or nothing.")
    elif value and (len(value) > option.most or not re.fullmatch(option.pattern, value)):
        raise Invalid.field(name, f"{name} is {value[:40]!r}; {option.words}. It has at most {option.most} characters.")
    return value
