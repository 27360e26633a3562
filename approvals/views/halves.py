"""What a plan says of security, load and sharing, in the units of the page. A plan of schema 1 has none of it.

Rows are `{label, detail, value}` of words; a verdict stands as a chip with a word, never as a colour alone.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from portal.templatetags.gatehouse import day, money, tokens

Cell = dict[str, Any]
LOOKS = {
    "pass": ("green", "ok", "passes"),
    "warn": ("orange", "warn", "warns"),
    "fail": ("red", "err", "fails"),
    "missing": ("grey", "info", "not judged"),
    "expired": ("orange", "clock", "expired"),
}
EXPOSURE = {"project": "This project only", "shareable": "Others may ask", "shared": "Shared"}
LEVELS = {"quiet": "Quiet", "expected": "Expected", "peak": "Peak"}
WAYS = {"own": "the project’s own", "granted": "shared with the project", "ask": "its owners let other projects ask"}


def security(plan: Mapping[str, Any]) -> Cell | None:
    """Return the security half: rows of words, findings with their verdict and age, waivers; None without one."""
    half = plan.get("security")
    if not half:
        return None
    verdict = LOOKS.get(half["licence"]["verdict"], LOOKS["missing"])[2]
    rows = [*_where(half), ("Licence", _licence(half["licence"]), f"{half['licence']['name']}: {verdict}")]
    return {
        "rows": [{"label": label, "detail": detail, "value": value} for label, detail, value in rows],
        "terms": [one["terms"] for one in half["licence"]["restrictions"]],
        "evidence": [
            {
                "title": one["title"],
                "chip": _chip("expired" if one["expired"] and one["verdict"] == "pass" else one["verdict"]),
                "summary": one["summary"],
                "age": "today" if not one["age_days"] else f"{one['age_days']} d ago",
            }
            for one in half["evidence"]
        ],
        "waivers": [
            {"number": one["number"], "title": one["title"], "check": one["check"], "until": _day(one["until"])}
            for one in half["waivers"]
        ],
    }


def _where(half: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    if data := half.get("data"):
        place = f" in {data['environment']}" if data["environment"] else ""
        rows.append(("Data", data["sentence"], f"{data['class'] or 'not named'}{place}"))
    if exposure := half.get("exposure"):
        rows.append(("Exposure", exposure["sentence"], EXPOSURE.get(exposure["value"], exposure["value"])))
    if callers := half.get("callers"):
        people = callers["owners"] + callers["developers"] + callers["viewers"]
        keys = callers["keys"] + callers["keys_of_others"]
        rows.append(("Who can call", callers["sentence"], f"{people} people, {keys} keys"))
    if egress := half.get("egress"):
        rows.append(("Egress", egress["sentence"], "enforced" if egress["enforced"] else "not enforced"))
    return rows


def _licence(licence: Mapping[str, Any]) -> str:
    return f"{licence['summary']} {licence['sentence']}"


def _chip(verdict: str) -> Cell:
    colour, icon, label = LOOKS.get(verdict, LOOKS["missing"])
    return {"label": label, "colour": colour, "icon": icon, "kind": "outline"}


def loads(plan: Mapping[str, Any]) -> Cell | None:
    """Return the three levels of load with their cost per million tokens; None without any."""
    half = plan.get("loads")
    if not half:
        return None
    rows = [
        {
            "label": LEVELS.get(level["name"], level["name"]),
            "calls": f"{level['calls']:g}",
            "inputs": level["inputs"],
            "tokens": tokens(level["tokens_per_day"]) if level["tokens_per_day"] else "not measured",
            "cost": money(level["per_million"], half["currency"]) if level["per_million"] else "not measured",
        }
        for level in half["levels"]
    ]
    return {"rows": rows, "measured": bool(half["measured"]), "sentence": half["sentence"]}


def sharing(plan: Mapping[str, Any]) -> Cell | None:
    """Return what could be used instead, with the use from which an own endpoint is cheaper; None without any."""
    half = plan.get("sharing")
    if not half:
        return None
    return {"sentence": half["sentence"], "rows": [_offer(one) for one in half["offers"]]}


def _offer(offer: Mapping[str, Any]) -> Cell:
    even = offer["break_even"]
    own, share = money(even["own_per_day"], even["currency"]), money(even["share_per_hour"], even["currency"])
    return {
        "name": offer["name"],
        "where": f"{WAYS.get(offer['way'], '')}, in {offer['environment']}",
        "room": offer["sentence"],
        "even": even["sentence"],
        "inputs": f"An own endpoint costs {own} a day, the share of this one {share} an hour ({even['inputs']}).",
    }


def verdicts(plan: Mapping[str, Any]) -> list[Cell]:
    """Return the checks for _verdicts.html, with the last day of a waiver as people write it."""
    return [{**check, "until": _day(check.get("waived_until") or "")} for check in plan["checks"]]


def _day(value: str) -> str:
    return day(dt.date.fromisoformat(value)) if value else "its end"
