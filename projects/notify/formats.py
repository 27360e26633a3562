"""How a webhook is told: as the portal's own event, or as a message that a chat shows as it is.

The payload of a delivery is the same for all; it is put into words when it is sent, so that a webhook that changes its
format also replays in the new one. Texts come from people: a chat must show them, never obey them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from projects.models import WebhookFormat
from projects.notify.kinds import KINDS

Payload = Mapping[str, Any]
SLACK_TITLE, SLACK_TEXT = 150, 3000  # characters of a header and of a section
TEAMS_TEXT = 4000  # characters; a whole message may have 28 KB
OPEN = "Open in Gatehouse"
CARD = "http://adaptivecards.io/schemas/adaptive-card.json"


def body(form: str, payload: Payload) -> Payload:
    """Return what is sent for `payload` in the format `form`."""
    return _FORMS.get(form, _standard)(payload)


def _standard(payload: Payload) -> Payload:
    return payload


def _slack(payload: Payload) -> Payload:
    """Return a message of Slack's incoming webhooks. Only the link is markup: a plain text mentions nobody."""
    title, text, url, about = _parts(payload)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(_cut(title, SLACK_TITLE))}]
    if text:
        blocks.append({"type": "section", "text": _plain(_cut(text, SLACK_TEXT))})
    if url:
        blocks.append(
            {"type": "section", "text": {"type": "mrkdwn", "text": f"<{_escaped(url).replace('|', '%7C')}|{OPEN}>"}}
        )
    blocks.append({"type": "context", "elements": [_plain(about)]})
    return {"text": _escaped(_cut(title, SLACK_TEXT)), "blocks": blocks}


def _teams(payload: Payload) -> Payload:
    """Return a message with an Adaptive Card, as Teams and its workflows take it. Text runs know no markup."""
    title, text, url, about = _parts(payload)
    lines = [_run(_cut(title, TEAMS_TEXT), weight="Bolder", size="Medium")]
    lines += [_run(_cut(text, TEAMS_TEXT))] if text else []
    lines.append(_run(about, isSubtle=True, size="Small"))
    card: dict[str, Any] = {
        "$schema": CARD,
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [line]} for line in lines],
    }
    if url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": OPEN, "url": url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


_FORMS: Mapping[str, Callable[[Payload], Payload]] = {WebhookFormat.SLACK: _slack, WebhookFormat.TEAMS: _teams}


def _parts(payload: Payload) -> tuple[str, str, str, str]:
    """Return title, text, address and a line that says what it is about."""
    data = payload.get("data") or {}
    kind = str(payload.get("type", ""))
    label = KINDS[kind].label if kind in KINDS else kind
    about = " · ".join(part for part in (label, data.get("project") or "", "Gatehouse") if part)
    return (
        str(data.get("title") or label or "Gatehouse"),
        str(data.get("text") or ""),
        str(data.get("url") or ""),
        about,
    )


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _run(text: str, **look: object) -> dict[str, object]:
    return {"type": "TextRun", "text": text, **look}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(text: str) -> str:
    """Return `text` without what Slack would read as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
