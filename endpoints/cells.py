"""What pages show of endpoints and keys, computed before the template: chips, whose turn, steps, facts."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from endpoints import stepper, telling
from endpoints.clusters import Stage
from endpoints.decision import RESTARTING
from endpoints.keys import answers, may_change
from endpoints.models import Desired, Endpoint, Event, Phase, Revision
from endpoints.stepper import clock
from portal.templatetags.gatehouse import day, duration_h, money
from projects.models import PLATFORM_ENGINEERS, ApiKey, KeyState
from projects.permissions import allows
from projects.principal import Principal

Cell = dict[str, Any]
PHASES = {
    Phase.PENDING: ("grey", "pending"),
    Phase.PROVISIONING: ("blue", "progress"),
    Phase.READY: ("green", "ok"),
    Phase.DEGRADED: ("orange", "degraded"),
    Phase.FAILED: ("red", "err"),
    Phase.SUSPENDED: ("grey", "pause"),
    Phase.DELETING: ("grey", "trash"),
    Phase.DELETED: ("grey", "trash"),
}
ENVIRONMENTS = {"prod": "purple", "staging": "teal", "dev": "grey"}
ALERTS = {"alert_firing": ("red", "warn"), "alert_resolved": ("green", "ok")}
KEY_STATES = {
    KeyState.ACTIVE: ("green", "ok"),
    KeyState.ROTATING: ("orange", "rotate"),
    KeyState.REVOKED: ("grey", "ban"),
    KeyState.EXPIRED: ("grey", "expired"),
}
BEGINNINGS = {"accepted", "resumed", "retried"}
IN_PLACE = {"revision_opened", "replacing", "rolled_back"}  # a beginning too, unless the one before answers meanwhile
ROLLOUT = (*((name, f"rollout_{code}") for name, code in (
    ("Scheduled", "scheduled"), ("Starting", "starting"), ("Loading", "loading"))), ("Takes over", "rolled_out"),
)  # fmt: skip
ANSWERING = {Phase.READY, Phase.DEGRADED}
SETTLED = {Phase.READY, Phase.FAILED, Phase.SUSPENDED, Phase.DELETED}
REFERENCE = re.compile(r"R-([1-9][0-9]{0,15})", re.ASCII)
STEPS = (("Scheduled", "scheduled"), ("Starting", "starting"), ("Loading", "loading"), ("Ready", "ready"))


def phase_chip(row: Endpoint) -> Cell:
    """Return the chip of the state; while engines end it says what for."""
    phase = Phase(row.phase)
    colour, icon = PHASES[phase]
    label = str(phase.label)
    if row.desired == Desired.SUSPENDED and phase != Phase.SUSPENDED:
        colour, icon, label = "grey", "pause", "Suspending"
    if row.desired == Desired.DELETED and phase != Phase.DELETED:
        colour, icon, label = "grey", "trash", "Deleting"
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def environment_chip(row: Endpoint) -> Cell:
    """Return the chip of the environment."""
    return environment_named(row.environment)


def environment_named(name: str) -> Cell:
    """Return the chip of the environment `name`."""
    return {"label": name, "colour": ENVIRONMENTS.get(name, "grey"), "icon": "", "kind": "outline"}


def truth_chips(row: Endpoint) -> list[Cell]:
    """Return the chips that say what is not the real thing: the demo engine, simulated accelerators."""
    revision = row.revision
    labels = []
    if revision and revision.runtime.get("demo"):
        labels.append("Demo engine")
    if revision and row.cluster.simulated and revision.profile.accelerator_count:
        labels.append("Simulated accelerators")
    return [{"label": label, "colour": "purple", "icon": "info", "kind": "outline"} for label in labels]


def broken_chip(row: Endpoint) -> Cell:
    """Return the chip of the why box: for how long it has not answered."""
    seconds = (timezone.now() - row.phase_since).total_seconds()
    return {"label": f"Not ready for {duration_h(round(seconds))}", "colour": "red", "icon": "err", "kind": "filled"}


def settled(row: Endpoint) -> bool:
    """Whether nothing changes before somebody acts, so that a page may stop asking."""
    moves = (row.rolling_out and row.reason_code != "canary") or row.drain_until  # a canary waits for somebody
    if row.desired == Desired.RUNNING and row.phase != Phase.FAILED and moves:
        return False
    if row.phase == Phase.READY and row.reason_turn in {"owner", "platform"} and row.due_at is not None:
        return False  # its cluster cannot be asked, for example: that may end by itself
    at_rest = {Desired.RUNNING: SETTLED, Desired.SUSPENDED: {Phase.SUSPENDED}, Desired.DELETED: {Phase.DELETED}}
    return row.phase in at_rest[Desired(row.desired)]


def turn(row: Endpoint, reader: Principal) -> Cell:
    """Return whose turn it is, in the reader's words."""
    operates = allows(reader, "suspend", Endpoint, row.project_id)
    if row.reason_turn == "owner":
        mine = operates and reader.role_in(row.project_id) is not None
        return {"turn": "Your turn" if mine else f"{row.project.slug}’s turn", "mine": mine}
    if row.reason_turn == "platform":
        mine = PLATFORM_ENGINEERS in reader.groups
        return {"turn": "Your turn, platform team" if mine else "The platform team’s turn", "mine": mine}
    words = "Nobody has to act" if row.reason_turn == "nobody" else "Nobody, automatic"
    return {"turn": words, "mine": False}


def steps(row: Endpoint, events: Sequence[Event]) -> list[Cell]:
    """Return the named steps of the current start with their times; `events` oldest first. Empty when it is not to
    run.
    """
    if row.desired != Desired.RUNNING or row.phase == Phase.SUSPENDED:
        return []
    begin = max((index for index, one in enumerate(events) if _begins(row, events, index)), default=0)
    series = events[begin:]
    # What a kept engine did before it became ready the first time is the story; later restarts begin another one.
    last = max((index for index, one in enumerate(series) if one.code == "scheduled"), default=None)
    seen: dict[str, dt.datetime] = {}
    for one in series[last:] if last is not None else ():
        seen.setdefault(one.code, one.at)
    accepted = series[0].at if series else row.created_at
    made = [{"name": "Accepted", "state": "done", "time": clock(accepted)}]
    if told := _told(row):
        broke = row.phase_since if row.phase == Phase.FAILED else timezone.now() if _broken(row) else None
        return made + stepper.lines(told, accepted, done=row.phase in ANSWERING, failed_at=broke)
    running = row.phase in {Phase.READY, Phase.DEGRADED}
    reached = len(STEPS) if running else max((i + 1 for i, (_, code) in enumerate(STEPS) if code in seen), default=0)
    before = accepted
    for index, (name, code) in enumerate(STEPS):
        at = seen.get(code)
        time = _since(before, at) if at else ("at once" if running else "")
        before = at or before
        if code == "ready" and running:
            time = f"since {clock(row.phase_since)}"
        made.append({"name": name, "state": _step_state(row, index, reached), "time": time})
    return made


def _told(row: Endpoint) -> tuple[Stage, ...]:
    """Return the steps of the start of what runs, where the cluster tells them."""
    if row.revision is None or row.phase == Phase.PENDING:
        return ()
    return telling.stages(row, row.revision.number)


def _broken(row: Endpoint) -> bool:
    """Whether what is being started will be started once more."""
    return row.reason_code == RESTARTING or bool(row.reason_tried)


def _begins(row: Endpoint, events: Sequence[Event], index: int) -> bool:
    """Whether a start of what answers calls begins with this event."""
    code = events[index].code
    if code in BEGINNINGS:
        return True
    if code not in IN_PLACE:
        return False
    following = {one.code for one in events[index + 1 :]}
    return "scheduled" in following or row.phase not in {Phase.READY, Phase.DEGRADED}


def rollout_steps(row: Endpoint, events: Sequence[Event]) -> list[Cell]:
    """Return the steps of a revision that starts beside the one that answers calls; `events` oldest first."""
    if row.next_revision is None or not row.next_beside or row.desired != Desired.RUNNING:
        return []
    opened = {"revision_opened", "rolled_back"}
    begin = max((index for index, one in enumerate(events) if one.code in opened), default=0)
    series = events[begin:]
    seen: dict[str, dt.datetime] = {}
    for one in series:
        seen.setdefault(one.code, one.at)
    before = series[0].at if series else row.created_at
    made = [{"name": "Opened", "state": "done", "time": clock(before)}]
    if told := telling.stages(row, row.next_revision.number):
        failed = timezone.now() if row.reason_tried else None
        made += stepper.lines(told, before, done=all(one.ended for one in told), failed_at=failed)
        return [*made, {"name": ROLLOUT[-1][0], "state": "pending", "time": ""}]
    reached = max((index for index, (_, code) in enumerate(ROLLOUT) if code in seen), default=-1)
    for index, (name, code) in enumerate(ROLLOUT):
        at = seen.get(code)
        state = "done" if index < reached else "current" if index == max(reached, 0) else "pending"
        made.append({"name": name, "state": state, "time": _since(before, at) if at else ""})
        before = at or before
    return made


def _step_state(row: Endpoint, index: int, reached: int) -> str:
    """`reached` steps have begun; the last of them is the current one, and Scheduled is done as soon as it has
    happened.
    """
    if row.phase in {Phase.READY, Phase.DEGRADED}:
        return "done"
    current = max(reached - 1, 1 if reached else 0)
    if index < current:
        return "done"
    if index > current:
        return "pending"
    return "failed" if row.phase == Phase.FAILED or row.reason_code == RESTARTING else "current"


def happens(row: Endpoint) -> str:
    """Return what happens by itself."""
    if row.phase == Phase.FAILED:
        return "Nothing. It starts again when somebody presses Retry."
    if row.due_at is not None and row.reason_code == RESTARTING:
        wait = max(0.0, (row.due_at - timezone.now()).total_seconds())
        return f"The next start follows in {duration_h(round(wait))}."
    if row.reason_code == "waiting_for_capacity":
        return "It starts when enough accelerators are given back; nobody is overtaken."
    return "The portal looks again by itself until it answers."


def playground(row: Endpoint, may_create_keys: bool) -> Cell:
    """Return the context of the playground, or why it cannot answer now."""
    blocked = ""
    if row.revision and row.revision.version.needs.get("embedding"):
        blocked = "The playground chats; this endpoint makes embeddings. The snippets above call it."
    elif not may_create_keys:
        blocked = (
            "The playground calls with a key of your own, and only owners and developers of the project have keys."
        )
    elif not answers(row):
        blocked = "It answers no calls now; the state above says why."
    return {
        "key_url": reverse("endpoint_playground_key", args=[row.pk]),
        "model": f"{row.project.slug}/{row.name}",
        "blocked": blocked,
    }


def facts(row: Endpoint, revision: Revision) -> list[Cell]:
    """Return the lines of the facts card: name and value, with `url` a link, with `copied` a copy field."""
    profile, version = revision.profile, revision.version
    count = row.wanted_replicas
    monthly = profile.price_per_hour * count * settings.HOURS_PER_MONTH
    of = f", {revision.replicas} approved" if count != revision.replicas else ""
    following = f", {row.next_revision.number} on its way" if row.next_revision else ""
    return [
        {
            "name": "Model",
            "value": f"{version.asset.name} {version.version}",
            "url": reverse("catalog_detail", args=[version.asset.slug]),
        },
        {
            "name": "Revision",
            "value": f"{revision.number}{following}",
            "url": reverse("endpoint_revisions", args=[row.pk]),
        },
        {"name": "Engine", "value": str(revision.runtime.get("engine", "–"))},
        {"name": "Hardware", "value": f"{count} × {profile.name}{of}"},
        {
            "name": "Context",
            "value": f"{revision.context_tokens:,} tokens, {revision.concurrency} calls at once per replica",
        },
        {"name": "Cluster", "value": row.cluster.name},
        {"name": "Data", "value": row.data_classification or "–"},
        {"name": "Contact", "value": row.contact.username if row.contact else "nobody"},
        {"name": "Runs until", "value": day(row.ends_on) if row.ends_on else "no end date"},
        {"name": "Cost", "value": f"{money(monthly, profile.currency)} / month"},
        {"name": "Approved as", "value": revision.authorization_reference,
         "url": request_url(revision.authorization_reference)},
        {"name": "Id", "value": str(row.pk), "copied": True},
    ]  # fmt: skip


def request_url(reference: str) -> str:
    """Return the page of the request that people call R-12; "" for any other authorization.

    Only the route's name is known here: what stands behind it belongs to a higher app, which checks its reader.
    """
    found = REFERENCE.fullmatch(reference)
    return reverse("request_detail", args=[int(found[1])]) if found else ""


def event_lines(events: Sequence[Event]) -> list[Cell]:
    """Return the lines of the timeline with an icon by phase; `events` newest first."""
    lines = []
    for one in events:
        colour, icon = PHASES[Phase(one.phase)]
        if one.code in {"crashed", RESTARTING, "out_of_memory", "start_timeout"} and one.phase != Phase.FAILED:
            colour, icon = "orange", "warn"
        colour, icon = ALERTS.get(one.code, (colour, icon))
        lines.append({"at": one.at, "colour": colour, "icon": icon, "sentence": one.sentence, "code": one.code})
    return lines


def key_line(key: ApiKey, reader: Principal, names: dict[str, str] | None, may: dict[str, bool]) -> Cell:
    """Return a row of a table of keys; `may` says what the reader's role allows, `names` what its endpoints are
    called (None: the table does not say it, and no target is read).
    """
    colour, icon = KEY_STATES[KeyState(key.state)]
    living = key.state in {KeyState.ACTIVE, KeyState.ROTATING}
    args = [key.project.slug, key.pk]
    actions: list[Cell] = []
    if key.state == KeyState.ACTIVE and may["rotate"] and may_change(reader, key, "rotate"):
        actions.append({"label": "Rotate", "url": reverse("key_rotate", args=args)})
    if living and may["revoke"] and may_change(reader, key, "revoke"):
        actions.append({"label": "Revoke", "url": reverse("key_revoke", args=args), "danger": True})
    known = {} if names is None else names
    targets = [] if names is None else list(key.targets.all())
    bound = sorted(known.get(target.target_id, "a deleted endpoint") for target in targets)
    return {
        "name": key.name, "person": key.person.username, "prefix": key.prefix, "last_used": key.last_used_at,
        "expires": key.expires_at if living else None, "ended": key.revoked_at or key.expires_at,
        "chip": {"label": KeyState(key.state).label, "colour": colour, "icon": icon, "kind": "filled"},
        "endpoints": ", ".join(bound) or "all endpoints", "actions": actions,
    }  # fmt: skip


def _since(before: dt.datetime, at: dt.datetime) -> str:
    seconds = max(0.0, (at - before).total_seconds())
    if seconds < 0.05:
        return "at once"
    return f"after {duration_h(round(seconds, 1) if seconds < 10 else seconds)}"
