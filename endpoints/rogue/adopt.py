"""The way from a workload to a request that adopts it: what can be adopted where, and what its form begins with."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from endpoints.adopting.profiles import slug
from endpoints.models import Cluster
from endpoints.rogue import approved
from endpoints.rogue.judging import SERVED
from endpoints.rogue.models import RogueWorkload
from projects.permissions import can
from projects.principal import Principal

FORM = "request_new"
ADOPTABLE = ("Deployment", *SERVED)


def why_not(row: RogueWorkload, cluster: Cluster) -> str:
    """Return why a workload cannot be adopted as it is, and what to do instead; "" when it can be."""
    able = approved.kinds(cluster.driver, cluster.options)
    if row.kind not in able:
        if row.kind not in ADOPTABLE:
            return f"A {row.kind} cannot be adopted. Ask for a new endpoint, and end this one when that answers calls."
        what = "Deployments" if "Deployment" in able else f"{able[0]}s"
        return (
            f"The driver of {cluster.slug} adopts {what}, and this is a {row.kind}. Register the cluster with another "
            "driver, too, or ask for a new endpoint and end this one."
        )
    if cluster.driver not in ("kubernetes", "kserve"):
        return f"The driver of {cluster.slug} adopts nothing. Ask for a new endpoint and end this one."
    if row.facts.get("asks_key"):
        return (
            "Its engine asks for a key that the portal does not know, so calls through the gateway would be refused. "
            "Take the key away from it, or ask for a new endpoint and end this one."
        )
    if not row.facts.get("port") and row.kind != "LLMInferenceService":
        return "Its pods name no port, so the gateway would not know where to call. Name one in the pod template."
    return ""


def reference(row: RogueWorkload) -> dict[str, Any]:
    """Return what a revision keeps of the object that it is."""
    return {
        "api": row.api, "kind": row.kind, "namespace": row.namespace, "name": row.name, "uid": row.uid,
        "port": int(row.facts.get("port") or 8000), "container": str(row.facts.get("container") or ""),
        "served": str(row.facts.get("served") or row.facts.get("model") or ""),
    }  # fmt: skip


def address(by: Principal, row: RogueWorkload, **more: str) -> str:
    """Return the address of the form for a request that adopts `row`. Who was told of it need not see its project."""
    values = {"kind": "endpoint", "adopts": str(row.pk), **begin(row), **more}
    if row.project is not None and not can(by, "view", row.project):
        del values["project"]
    return f"{reverse(FORM)}?{urlencode(values)}"


def begin(row: RogueWorkload) -> dict[str, str]:
    """Return the fields of the form that follow from what runs, as far as they are known (no query)."""
    facts = row.facts
    environment = next((one for one in ("prod", "staging") if one in row.namespace.split("-")), "")
    found = {
        "name": slug(row.name),
        "project": row.project.slug if row.project else "",
        "replicas": str(max(1, int(facts.get("replicas") or facts.get("pods") or 1))),
        "context_tokens": str(facts.get("context_tokens") or ""),
        "concurrency": str(facts.get("concurrency") or ""),
        "environment": environment,
    }
    return {name: value for name, value in found.items() if value}
