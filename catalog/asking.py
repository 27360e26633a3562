"""How often somebody may have evidence collected: a proposal costs other people's processors and bandwidth."""

from catalog.models import Version
from portal.errors import RateLimited
from portal.rates import spend
from projects.permissions import can_anywhere
from projects.principal import Principal

MOST, WINDOW = 20, 3600  # times that a person may ask within so many seconds, about all own proposals together


def count(by: Principal) -> None:
    """Count one more time that `by` has something judged again; stewards are not counted. Raises RateLimited with the
    seconds to wait.
    """
    if can_anywhere(by, "collect_evidence", Version):
        return
    wait = spend(f"evidence:{by.person.pk}", MOST, WINDOW)
    if wait:
        minutes = -(-wait // 60)
        raise RateLimited(
            f"You have had evidence collected {MOST} times within an hour, which is the limit. Go on in {minutes} "
            f"minute{'' if minutes == 1 else 's'}, or ask a platform engineer or governance lead.",
            extra={"retry_after": wait},
        )
