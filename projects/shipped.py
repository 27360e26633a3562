"""The role presets that the portal ships: the people of a platform organisation, and what each of them needs.

A preset begins with what built-in roles hold (`like`), gets some more (`plus`) and loses some (`minus`). The result is
stored as a plain list of permissions, which the page of the preset shows and edits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from projects.models import AUDITORS, PLATFORM_ENGINEERS, Role, Where

_KEYS = ("projects.apikey.create", "projects.apikey.rotate", "projects.apikey.revoke")
_ASK = ("projects.project.request", "approvals.request.create", "approvals.request.comment")
_ADMISSION = tuple(
    f"catalog.{name}"
    for name in ("asset.create", "asset.change", "version.create", "version.submit", "version.collect_evidence")
)


@dataclass(frozen=True)
class Shipped:
    """One preset as it is shipped."""

    name: str
    where: Where
    description: str
    like: tuple[str, ...]
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()


SHIPPED: Mapping[str, Shipped] = {
    # --- on the whole platform
    "platform-architect": Shipped(
        "Platform architect",
        Where.PLATFORM,
        "Designs what the platform offers: reads everything, prepares assets and versions for the catalog, keeps "
        "hardware profiles. Decides no requests.",
        (AUDITORS,),
        (*_ADMISSION, "catalog.hardwareprofile.create", "catalog.hardwareprofile.change", "approvals.request.comment"),
    ),
    "devops-engineer": Shipped(
        "DevOps engineer",
        Where.PLATFORM,
        "Runs what was approved: operates endpoints, clusters, pools and keys in every project. Decides no requests "
        "and changes no catalog.",
        (PLATFORM_ENGINEERS,),
        (),
        (
            *_ADMISSION,
            "approvals.request.decide",
            "catalog.version.approve",
            "catalog.version.reject",
            "catalog.version.deprecate",
            "catalog.version.retire",
            "catalog.version.block",
            "projects.project.change",
            "projects.project.manage_members",
            "projects.application.create",
            "projects.application.change",
            "projects.application.rotate",
            "quotas.quota.grant",
            "quotas.quota.change",
        ),
    ),
    "security-engineer": Shipped(
        "Security engineer",
        Where.PLATFORM,
        "Reads everything, reviews evidence, blocks a version at once, ends keys, applications and sessions of "
        "anybody. Approves nothing.",
        (AUDITORS,),
        (
            "approvals.request.comment",
            "catalog.version.collect_evidence",
            "catalog.version.reject",
            "catalog.version.block",
            "projects.apikey.revoke",
            "projects.apikey.revoke_any",
            "projects.application.end",
            "projects.user.end_sessions",
            "endpoints.endpoint.suspend",
        ),
    ),
    "auditor": Shipped("Auditor", Where.PLATFORM, "Reads everything and changes nothing.", (AUDITORS,)),
    # --- in a project
    "backend-engineer": Shipped(
        "Backend engineer",
        Where.PROJECT,
        "Builds services on endpoints: asks for them, operates them, keeps their keys.",
        (Role.DEVELOPER,),
    ),
    "frontend-engineer": Shipped(
        "Frontend engineer",
        Where.PROJECT,
        "Calls endpoints from applications: own keys and the playground. Asks for nothing and operates nothing.",
        (Role.VIEWER,),
        _KEYS,
    ),
    "data-engineer": Shipped(
        "Data engineer",
        Where.PROJECT,
        "Runs pipelines against endpoints: asks for them, keeps keys, suspends and resumes. Deletes nothing and rolls "
        "nothing back.",
        (Role.DEVELOPER,),
        (),
        ("endpoints.endpoint.delete", "endpoints.endpoint.rollback", "endpoints.endpoint.transfer"),
    ),
    "qa-engineer": Shipped(
        "QA engineer",
        Where.PROJECT,
        "Tests endpoints: own keys, logs and events, starts a failed one again.",
        (Role.VIEWER,),
        (*_KEYS, "endpoints.endpoint.retry"),
    ),
    "product-manager": Shipped(
        "Product manager",
        Where.PROJECT,
        "Asks for endpoints and quota, follows requests, usage and cost. Holds no keys.",
        (Role.VIEWER,),
        _ASK,
    ),
    "project-manager": Shipped(
        "Project manager",
        Where.PROJECT,
        "Keeps the project's members up to developers and follows requests, usage and limits. Holds no keys.",
        (Role.VIEWER,),
        ("projects.project.manage_members", "approvals.request.comment"),
    ),
    "ux-designer": Shipped(
        "UX designer",
        Where.PROJECT,
        "Tries models in the playground and reads usage.",
        (Role.VIEWER,),
        ("projects.apikey.create",),
    ),
}
