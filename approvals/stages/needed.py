"""Whether the stages that were frozen still do what today's rules ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

from approvals.policies.bundle import DEFAULT_STAGE


def missing(frozen: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """Return in words what today's stages ask for beyond the frozen ones; "" when nothing.

    Another order, fewer people, or more roles that may decide are no more than before. The stage for everything is
    needed only where no other is.
    """
    before = {stage["rule"]: stage for stage in frozen}
    for stage in now:
        was = before.get(stage["rule"])
        if was is None and stage["rule"] != DEFAULT_STAGE.id:
            return f"the rules now ask for the stage {stage['name']}, which it lacks"
        if was is not None and was["count"] < stage["count"]:
            return f"the stage {stage['name']} now takes {stage['count']} people, not {was['count']}"
        if was is not None and set(was["roles"]) - set(stage["roles"]):
            return f"the stage {stage['name']} is now for {', '.join(stage['roles'])} only"
        if was is not None and stage["human"] and not was["human"]:
            return f"the stage {stage['name']} now wants a person"
    return ""
