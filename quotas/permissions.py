"""Who may see and change what: pools are everybody's, what a project used or holds is the project's."""

from projects.models import PLATFORM_ENGINEERS
from projects.permissions import EVERYONE, MEMBERS, OWNER, PLATFORM, Rule, register
from quotas.models import Pool, Quota, QuotaAlert, QuotaRaise, Reservation, UsageDay, UsageEvent, UsageHour


def register_rules() -> None:
    """Register the rules of this app."""
    engineers = frozenset({PLATFORM_ENGINEERS})
    register(Rule(Pool, None, {"view": EVERYONE, "create": engineers, "change": engineers}))
    for model in (Reservation, UsageEvent, UsageHour, UsageDay):
        register(Rule(model, "project_id", {"view": MEMBERS | PLATFORM}))
    # What the whole project may use and hold is the platform's to grant; an owner divides it.
    register(
        Rule(
            Quota,
            "project_id",
            {"view": MEMBERS | PLATFORM, "change": frozenset({OWNER, PLATFORM_ENGINEERS}), "grant": engineers},
        )
    )
    for part in (QuotaRaise, QuotaAlert):
        register(Rule(part, "quota__project_id", {"view": MEMBERS | PLATFORM}))
