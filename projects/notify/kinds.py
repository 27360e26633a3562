"""The kinds of notification: what a webhook may ask for and what a person may mute."""

from collections.abc import Mapping
from dataclasses import dataclass

TEST = "webhook.test"
DISABLED = "webhook.disabled"


@dataclass(frozen=True)
class Kind:
    """One kind: its short name on pages and the sentence that explains it."""

    label: str
    sentence: str


KINDS: Mapping[str, Kind] = {
    "request.submitted": Kind("Request submitted", "A request waits for a decision."),
    "request.changes_requested": Kind("Changes asked for", "A reviewer wants a request changed before deciding."),
    "request.approved": Kind("Request approved", "A request was approved."),
    "request.rejected": Kind("Request rejected", "A request was rejected."),
    "request.due": Kind("Request about to be late", "A request is near the objective and waits for a decision."),
    "request.overdue": Kind("Request overdue", "A request is older than the objective."),
    "request.assigned": Kind("Asked to decide", "A reviewer asks you in person to decide a request."),
    "request.mention": Kind("Mentioned", "Somebody named you below a request."),
    "delegation.changed": Kind("Delegation", "You decide for somebody else, or no longer."),
    "request.comment": Kind("Comment on a request", "Somebody wrote below a request."),
    "endpoint.ready": Kind("Endpoint ready", "An endpoint answers calls."),
    "endpoint.failed": Kind("Endpoint failed", "An endpoint could not be started, or stopped answering."),
    "endpoint.expiring": Kind("Endpoint about to end", "The end date of an endpoint comes close."),
    "endpoint.expired": Kind("Endpoint ended", "The end date of an endpoint has passed, and it is suspended."),
    "endpoint.deleted": Kind("Endpoint deleted", "An endpoint was deleted."),
    "endpoint.suspended": Kind("Endpoint suspended", "An endpoint was suspended because its version is blocked."),
    "endpoint.idle": Kind("Endpoint idle", "An endpoint holds hardware and gets no calls."),
    "endpoint.give_back": Kind("Accelerators asked back", "An endpoint holds accelerators of another project."),
    "endpoint.promoted": Kind("Endpoint promoted", "An endpoint was opened in the next environment."),
    "endpoint.transferred": Kind("New contact of an endpoint", "Another person answers for an endpoint."),
    "endpoint.shared": Kind("Endpoint shared", "A project may call the endpoint of another one, or no longer."),
    "quota.threshold": Kind("Quota nearly used", "A share of a quota that you are warned about is used."),
    "quota.projected": Kind("Quota will not last", "At the present pace a quota is used up before it resets."),
    "quota.raised": Kind("Quota raised", "A quota was raised for a time."),
    "project.ownerless": Kind(
        "Project without an owner", "A group of the identity provider took a project's last owner."
    ),
    "asset.blocked": Kind("Version blocked", "A version that endpoints or grants of yours use was blocked."),
    "asset.granted": Kind(
        "Asset granted", "You, a group or a project of yours may use an asset that is not for everyone."
    ),
    "asset.ended": Kind("Grant of an asset ended", "The grant of an asset has ended or was taken away."),
    "server.granted": Kind("MCP server granted", "Your project may use tools of an MCP server, or no longer."),
    "asset.tools_changed": Kind(
        "Tools of an MCP server changed", "An approved MCP server answers with other tools than were reviewed."
    ),
    "catalog.drift": Kind(
        "Content of a version drifted", "The source of an approved version holds something else than was pinned."
    ),
    "endpoint.changed": Kind(
        "Endpoint changed in its cluster", "Somebody changed by hand what was approved for an endpoint."
    ),
    "endpoint.drifted": Kind(
        "Content behind an endpoint drifted", "The source of the version that an endpoint runs holds something else."
    ),
    "application.ownerless": Kind(
        "Application without an owner", "The owner of an OAuth application has left; it stops until it has a new one."
    ),
    "policies.published": Kind("Policies published", "Another version of the policies counts from now on."),
    "review.waiting": Kind("Access review", "Entries of an access review wait for your word."),
    "waiver.ending": Kind("Waiver about to end", "A waiver that concerns you has few days left."),
    "waiver.expired": Kind("Waiver ended", "A waiver is over, and the rule that it let pass counts again."),
    "rogue.found": Kind(
        "Workload without approval", "Something of yours runs on a cluster without an approval of the portal."
    ),
    "finding.opened": Kind("Rule failed by an endpoint", "An endpoint that you answer for fails a rule."),
    "envelope.switched_on": Kind("Auto-approve rule switched on", "A rule approves requests from now on."),
    "envelope.objected": Kind("Objection to an approval by rule", "A reviewer objects to what a rule approved."),
    "application.expiring": Kind("Application about to end", "An OAuth application that you answer for stops soon."),
    "key.expiring": Kind("Key about to expire", "An API key stops working soon."),
    TEST: Kind("Webhook test", "Somebody tests a webhook."),
    DISABLED: Kind("Webhook switched off", "The receiver of a webhook said that it is gone, so it was switched off."),
}
