"""What a plan says beyond memory, room, cost and rules: blocks of lines that differ by kind, in the units of the page.

A plan frozen before kinds were written into plans is one of a new endpoint: it has no block.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from portal.templatetags.gatehouse import bytes_h, day, money, tokens

Block = dict[str, Any]
Plan = Mapping[str, Any]
FIELDS = {
    "asset": "Model",
    "version": "Version",
    "hardware_profile": "Hardware profile",
    "replicas": "Replicas",
    "concurrency": "Parallel calls",
    "context_tokens": "Context tokens",
}
WINDOWS = {"day": "a day", "month": "a month", "": ""}


def blocks(plan: Plan) -> list[Block]:
    """Return the blocks of a plan: `{title, rows: [(label, detail, value)], sentence}`."""
    return [*BLOCKS.get(str(plan.get("kind", "")), _none)(plan), *_promotion(plan)]


def _none(plan: Plan) -> list[Block]:
    return []


def _promotion(plan: Plan) -> list[Block]:
    """Return from where a request is promoted, and what is not the same as there."""
    found = plan.get("promotion")
    if not found:
        return []
    source = found["from"]
    rows = [
        (FIELDS[one["field"]], f"{_plain(one['before'])} in {source['environment']}", _plain(one["after"]))
        for one in found["differs"]
    ]
    says = "All of it is the same as there." if not rows else "The rest is the same as there."
    where = f"{source['name']} in {source['environment']}, revision {source['revision']}"
    return [{"title": f"Promoted from {where}", "rows": rows, "sentence": says}]


def _revision(plan: Plan) -> list[Block]:
    before, delta = plan["before"], plan["delta"]
    currency = plan["cost"]["currency"]
    changes = [
        (FIELDS[change["field"]], f"now {_plain(change['before'])}", _plain(change["after"]))
        for change in plan["changes"]
    ]
    memory = plan["memory"]["needed_bytes"]
    difference = [
        ("Memory of a replica", f"now {bytes_h(before['memory_bytes'])}", bytes_h(memory)) if memory else None,
        (f"GPUs, {delta['gpus']:+}", f"now {before['gpus']}", str(plan["gpus"]["total"])),
        (
            f"Per month, {_signed(delta['per_month'], currency)}",
            f"now {money(before['per_month'], currency)}",
            money(plan["cost"]["per_month"], currency),
        ),
    ]
    return [
        {
            "title": "What changes",
            "rows": changes,
            "sentence": f"Beside revision {before['revision']} of {_name(plan)}, which works until this one does."
            if plan["room"].get("way") == "beside"
            else f"In the place of revision {before['revision']} of {_name(plan)}.",
        },
        {"title": "Before and after", "rows": [row for row in difference if row], "sentence": ""},
    ]


def _renewal(plan: Plan) -> list[Block]:
    used, ends = plan["usage"], plan["ends_on"]
    last = day(dt.datetime.fromisoformat(used["last_call"]).date()) if used["last_call"] else "never"
    return [
        {
            "title": "End date",
            "rows": [("Runs until", f"now {_day(ends['before'])}", _day(ends["after"]))],
            "sentence": "",
        },
        {
            "title": f"Use of the last {used['days']} days",
            "rows": [
                ("Calls", f"{used['errors']:,} failed", f"{used['requests']:,}"),
                ("Tokens", f"{used['input_tokens']:,} in, {used['output_tokens']:,} out", tokens(used["tokens"])),
                *([("Idle days", "without a call", str(used["idle_days"]))] if "idle_days" in used else []),
                *([("Cost", "of its accelerators", money(used["cost"], used["currency"]))] if used.get("cost") else []),
                ("Last call", "", last),
            ],
            "sentence": "" if used["requests"] else used["sentence"],
        },
    ]


def _access(plan: Plan) -> list[Block]:
    endpoint, load, data = plan["endpoint"], plan["load"], plan["data"]
    return [
        {
            "title": "Endpoint",
            "rows": [
                ("Model name in calls", "", endpoint["model"]),
                ("Runs", f"{plan['asset_name']} {plan['version']}", endpoint["environment"]),
                ("Runs until", "", _day(endpoint["ends_on"])),
                ("Approved for", "", f"{data['endpoint'] or 'unnamed'} data"),
            ],
            "sentence": "",
        },
        {
            "title": "Load now",
            "rows": [
                ("Busy calls", f"of {load['seats']}", str(load["running"])),
                ("Waiting calls", "", str(load["waiting"])),
                ("Last 24 hours", f"{tokens(load['tokens_24h'])} tokens", f"{load['requests_24h']:,} calls"),
            ],
            "sentence": "Calls cost the endpoint's project; they are counted to the project that calls.",
        },
        {"title": "Access", "rows": [("Until", "", _day(plan["ends_on"]["after"]))], "sentence": ""},
    ]


def _quota(plan: Plan) -> list[Block]:
    before, after = plan["before"], plan["after"]
    rows = [
        (label, f"now {before[name]:,}", f"{after[name]:,}")
        for name, label in (("hard", "Refuses above"), ("soft", "Warns above"))
        if before[name] is not None and after[name] is not None
    ]
    gpus = plan["quota"] == "gpus"
    rows.append(("Held or waited for" if gpus else "Used in this window", "", f"{plan['used']:,}"))
    if plan["projected"] is not None:
        rows.append(("At the end of the window", "at the pace of the last week", f"{plan['projected']:,}"))
    rows.append(("Until", "", _day(plan["ends_on"]["after"])))
    title = plan["title"]
    return [{"title": f"{title[:1].upper()}{title[1:]}", "rows": rows, "sentence": ""}]


def _mcp_access(plan: Plan) -> list[Block]:
    server, ends = plan["server"], plan["ends_on"]
    rows = [
        ("Server", f"{plan['asset_name']} {plan['version']}", server["name"]),
        ("Reached by", "", server["transport"]),
        ("Sign-in", "", server["sign_in"]),
        ("Until", f"now {_day(ends['before'])}" if plan["replaces"] else "", _day(ends["after"])),
    ]
    tools = [
        (tool["name"], " · ".join(tool["hints"]), tool["digest"].removeprefix("sha256:")[:10] or "not pinned")
        for tool in plan["tools"]
    ]
    left = plan["listed"] - len(plan["tools"])
    more = "1 further tool of it is" if left == 1 else f"{left} further tools of it are"
    sentence = f"{more} not asked for." if left > 0 else ""
    replaced = f"It takes the place of what the project has: {plan['replaces']}." if plan["replaces"] else ""
    return [
        {"title": "MCP server", "rows": rows, "sentence": replaced, "words": True},
        {"title": "Tools", "rows": tools, "sentence": sentence if tools else "No tool of it is known.", "words": True},
    ]


def _admission(plan: Plan) -> list[Block]:
    pin, runtime = plan["pin"], plan["runtime"]
    rows = [
        ("Source", "", plan["source"]),
        ("Licence", "", plan["licence"]),
        ("Specification", "", plan["specification"].removeprefix("sha256:")[:12]),
    ]
    if pin:
        rows += [
            ("Revision", "", pin["revision"].removeprefix("sha256:")[:12] or "none"),
            ("Content", f"{pin['files']:,} files, {bytes_h(pin['bytes'])}", pin["digest"].removeprefix("sha256:")[:12]),
        ]
    if runtime.get("command"):
        rows += [("Engine", "", runtime["engine"]), ("Started by", "", " ".join(runtime["command"]))]
    blocked = f"It was blocked: {plan['blocked_for']}" if plan["blocked_for"] else ""
    found: list[Block] = [{"title": "What is let in", "rows": rows, "sentence": blocked, "words": True}]
    if "tools" in plan:
        found.append(_tools(plan))
    if plan["before"]:
        changes = [(row["field"], row["before"], row["after"]) for row in plan["changes"]]
        title = f"What differs from version {plan['before']['version']}"
        sentence = "" if changes else "Nothing but its name."
        found.append({"title": title, "rows": changes, "sentence": sentence, "words": True})
    return found


def _tools(plan: Plan) -> Block:
    """Return the tools of a server that is to be let in, those first that differ from the version before."""
    rows = [
        (
            f"{tool['name']} ({tool['change']})" if tool["change"] else tool["name"],
            " · ".join([*([tool["description"]] if tool["description"] else []), *tool["hints"]]),
            tool["digest"].removeprefix("sha256:")[:10] or "not pinned",
        )
        for tool in plan["tools"]
    ]
    differ = sum(bool(tool["change"]) for tool in plan["tools"])
    sentence = "" if rows else "No tool of it is known."
    if rows and plan["before"]:
        past = f"version {plan['before']['version']}"
        sentence = f"{differ} of these differ from {past}." if differ else f"They are those of {past}."
    return {"title": "Tools", "rows": rows, "sentence": sentence, "words": True}


def _waiver(plan: Plan) -> list[Block]:
    rule, about = plan["rule"], plan["about"]
    rows = [
        ("Rule", rule["id"], rule["title"]),
        ("For", f"asked for by {about['requester']}" if about["requester"] else "", about["label"]),
        ("Why it fails", "", rule["reason"]),
        ("Done instead", "", plan["compensating_control"]),
        ("Answers for it", "", plan["owner"]),
        ("Until", "never extended", _day(plan["waived_until"])),
    ]
    return [{"title": "Exception from a rule", "rows": rows, "sentence": rule["fix"], "words": True}]


BLOCKS: Mapping[str, Callable[[Plan], list[Block]]] = {
    "revision": _revision,
    "renewal": _renewal,
    "access": _access,
    "quota": _quota,
    "mcp-access": _mcp_access,
    "admission": _admission,
    "waiver": _waiver,
}


def title(plan: Plan) -> str:
    """Return what a plan without a model is about: "GPU quota", "Monthly token quota"; "" for every other one."""
    found = str(plan.get("title") or "")
    return f"{found[:1].upper()}{found[1:]}"


def _name(plan: Plan) -> str:
    return str(plan["endpoint"]["name"])


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _signed(amount: str, currency: str) -> str:
    sign = "−" if amount.startswith("-") else "+"
    return f"{sign}{money(amount.lstrip('+-'), currency)}"


def _day(value: str | None) -> str:
    return day(dt.date.fromisoformat(value)) if value else "no end date"
