"""The refusal of a call whose quota is used up, in words."""

import datetime as dt

from endpoints.gateways.builtin.errors import Headers, Refusal
from quotas.bounds import Bound
from quotas.words import WINDOWS, amount, limits_path, moment

RETRY_SOON = 2  # seconds: other calls run, and what they leave comes free
MOST_RETRY = 86_400  # a quota may be raised at any time, so that nobody is sent away for a month


def refused(
    bound: Bound, hard: int, spent: int, *, now: float, ends_at: int, project: str, headers: Headers
) -> Refusal:
    """Return the 429 for a call that the quota `bound` with the limit `hard` does not admit.

    It starts anew at `ends_at`, in seconds since 1970 as `now`; `project` is the slug of the caller's project.
    """
    who = f"the project {bound.project}" if bound.target_kind == "project" else f"this {bound.target_kind}"
    limit = f"{amount('tokens', hard)} for {WINDOWS[bound.window]}"
    if spent >= hard:
        ends = dt.datetime.fromtimestamp(ends_at, dt.UTC)
        said = f"The quota of {who}, {limit} (UTC), is used up; it starts anew on {moment(ends)}."
        wait = min(max(1, ends_at - int(now)), MOST_RETRY)
    else:
        said = f"The quota of {who}, {limit} (UTC), has {spent:,} used, and calls that are running may use the rest."
        wait = RETRY_SOON
    return Refusal(
        429,
        "quota_exceeded",
        f"{said} {limits_path(project)} shows what is left and how to ask for more.",
        headers=[(b"retry-after", str(wait).encode()), *headers],
    )
