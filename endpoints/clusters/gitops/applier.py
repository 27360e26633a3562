"""What Argo CD or Flux says of the object by which it follows the repository. Pure functions over that object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.clusters.explaining.reading import at, condition, objects, text
from endpoints.clusters.kubernetes.kinds import Kind

ARGO = Kind("argoproj.io/v1alpha1", "Application", "applications")
FLUX = Kind("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomizations")
KINDS: Mapping[str, Kind] = {"argocd": ARGO, "flux": FLUX}
NAMES: Mapping[str, str] = {"argocd": "Argo CD", "flux": "Flux"}


@dataclass(frozen=True)
class Told:
    """What the applier says: part of a sentence, whether it has failed, and the commit that it applied last."""

    words: str
    failed: bool = False
    commit: str = ""


def told(name: str, where: str, found: Mapping[str, Any] | None, commit: str) -> Told:
    """Return what the applier `name` (a key of KINDS) says in its object `where`, None when that is not there, about
    `commit`.
    """
    who = f"{NAMES[name]} ({where})"
    if found is None:
        return Told(f"{NAMES[name]} has no object {where} that would apply it", failed=True)
    return _argo(who, found, commit) if name == "argocd" else _flux(who, found, commit)


def _argo(who: str, found: Mapping[str, Any], commit: str) -> Told:
    sync, health = text(at(found, "status", "sync", "status")), text(at(found, "status", "health", "status"))
    seen = text(at(found, "status", "sync", "revision"))
    phase = text(at(found, "status", "operationState", "phase"))
    complaint = next(
        (text(one.get("message")) for one in objects(at(found, "status", "conditions"))
         if text(one.get("type")).endswith("Error")), "",
    )  # fmt: skip
    if complaint:
        return Told(f"{who} cannot compare it: {_cut(complaint)}", failed=True, commit=seen)
    if phase in ("Failed", "Error"):
        words = _cut(text(at(found, "status", "operationState", "message")) or "it gives no reason")
        return Told(f"{who} failed to apply it: {words}", failed=True, commit=seen)
    if not sync:
        return Told(f"{who} has not looked at it yet")
    if seen != commit:
        return Told(f"{who} is {sync} at {seen[:12] or 'no commit'} and has not come to it yet", commit=seen)
    if phase == "Running":
        return Told(f"{who} applies it now", commit=seen)
    return Told(f"{who} is {sync}, {health or 'of unknown health'}", health == "Degraded", seen)


def _flux(who: str, found: Mapping[str, Any], commit: str) -> Told:
    ready = condition(found, "Ready")
    applied, tried = (text(at(found, "status", name)) for name in ("lastAppliedRevision", "lastAttemptedRevision"))
    seen = applied.rpartition(":")[2]
    if ready.get("status") == "False" and text(ready.get("reason")) not in ("Progressing", "DependencyNotReady"):
        words = _cut(text(ready.get("message")) or text(ready.get("reason")))
        return Told(f"{who} failed to apply it: {words}", failed=True, commit=seen)
    if at(found, "spec", "suspend") is True:
        return Told(f"{who} is suspended and applies nothing", failed=True, commit=seen)
    if commit and commit in applied:
        return Told(f"{who} has applied it", commit=seen)
    if commit and commit in tried:
        return Told(f"{who} applies it now", commit=seen)
    return Told(f"{who} is at {seen[:12] or 'no commit'} and has not come to it yet", commit=seen)


def _cut(words: str) -> str:
    return " ".join(words.split())[:160].rstrip(" .")
