"""Quotas in words, the same on pages, in the API, in refusals and in notifications."""

import datetime as dt

from quotas.models import QuotaKind, QuotaTarget, Window

WINDOWS = {Window.DAY.value: "today", Window.MONTH.value: "this month"}


def limits_path(slug: str) -> str:
    """Return the path of the page that explains the limits of a project."""
    return f"/projects/{slug}/limits/"


def amount(kind: str, number: int) -> str:
    """Return a number with its unit: 5,000,000 tokens, 1 GPU."""
    unit = "GPU" if kind == QuotaKind.GPUS else "token"
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def subject(target_kind: str, name: str) -> str:
    """Return whose quota it is: the project fraud-detection, the endpoint scoring, the key gth_ab12cd34."""
    return f"the {target_kind} {name}".rstrip()


def title(kind: str, target_kind: str, name: str, window: str) -> str:
    """Return the name of a quota: GPU quota; daily token quota; monthly token quota of the endpoint scoring."""
    if kind == QuotaKind.GPUS:
        return "GPU quota"
    often = "daily" if window == Window.DAY else "monthly"
    of = "" if target_kind == QuotaTarget.PROJECT else f" of {subject(target_kind, name)}"
    return f"{often} token quota{of}"


def moment(at: dt.datetime) -> str:
    """Return a time in UTC as people write it: 22 Nov 2026, 00:00 UTC."""
    utc = at.astimezone(dt.UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M} UTC"
