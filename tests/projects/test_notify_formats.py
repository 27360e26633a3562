"""Webhooks in the formats of chats: shapes as the receivers document them, words of people kept as words."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.utils import timezone

from projects.models import Webhook
from projects.notify import calls, formats, signing, webhooks
from projects.notify.services import payload, tell
from tests.conftest import Org
from tests.projects.notify_kit import receiver

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
TEXT = {"type": "object", "required": ["type", "text"], "additionalProperties": False}
PLAIN = TEXT | {
    "properties": {
        "type": {"const": "plain_text"},
        "text": {"type": "string", "minLength": 1},
        "emoji": {"type": "boolean"},
    }
}
LINK = TEXT | {
    "properties": {"type": {"const": "mrkdwn"}, "text": {"type": "string", "pattern": r"^<https?://[^<>|]+\|[^<>|]+>$"}}
}


def _block(kind: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *properties],
        "properties": {"type": {"const": kind}, **properties},
    }


def _long(limit: int) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(PLAIN))
    plain["properties"]["text"]["maxLength"] = limit
    return plain


# As Slack's reference of Block Kit says: a header has 150 characters, a section 3,000, a message 50 blocks.
SLACK = {
    "type": "object",
    "required": ["text", "blocks"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    _block("header", text=_long(150)),
                    _block("section", text={"oneOf": [_long(3000), LINK]}),
                    _block("context", elements={"type": "array", "minItems": 1, "maxItems": 10, "items": PLAIN}),
                ]
            },
        },
    },
}
RUN = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "TextRun"},
        "text": {"type": "string", "minLength": 1},
        "weight": {"enum": ["Lighter", "Default", "Bolder"]},
        "size": {"enum": ["Small", "Default", "Medium", "Large", "ExtraLarge"]},
        "isSubtle": {"type": "boolean"},
    },
}
# As the schema of Adaptive Cards 1.4 and the envelope of Teams say.
CARD = {
    "type": "object",
    "required": ["type", "version", "body"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
        "type": {"const": "AdaptiveCard"},
        "version": {"pattern": r"^1\.[0-5]$"},
        "body": {
            "type": "array",
            "minItems": 1,
            "items": _block("RichTextBlock", inlines={"type": "array", "minItems": 1, "items": RUN}),
        },
        "actions": {
            "type": "array",
            "items": _block(
                "Action.OpenUrl", title={"type": "string"}, url={"type": "string", "pattern": "^https?://"}
            ),
        },
    },
}
TEAMS = {
    "type": "object",
    "required": ["type", "attachments"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["contentType", "content"],
                "additionalProperties": False,
                "properties": {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": CARD,
                },
            },
        },
    },
}
SCHEMAS = {"slack": SLACK, "teams": TEAMS}


def event(**data: Any) -> dict[str, Any]:
    facts = {"title": "R-7 waits for you: dana asks for scoring.", "text": "", "url": "", "project": "fraud-detection"}
    return payload("request.submitted", facts | data, timezone.now())


@pytest.mark.parametrize("form", ["slack", "teams"])
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"text": "Score card payments.\nNow.", "url": "https://gatehouse.example.com/approvals/7/?a=1&b=2|x"},
        {"title": "x" * 5000, "text": "y" * 50_000},
        {"title": "", "project": None},
        {"title": "<!channel> & <@U1> *b* [x](https://evil.example)", "text": "<https://evil.example|click>"},
        {"title": "é😀" * 200},
    ],
)
def test_the_shape_is_the_documented_one(form: str, data: dict[str, Any]) -> None:
    found = formats.body(form, event(**data))
    jsonschema.validate(found, SCHEMAS[form])
    assert len(json.dumps(found).encode()) < 28_000 or form == "slack"


def test_people_cannot_mention_a_channel_or_plant_a_link() -> None:
    """Slack reads markup in the fallback text only, where it is escaped; all else is plain text."""
    nasty = event(title="<!channel> <https://evil.example|free GPUs> &", text="<!here>")
    slack = formats.body("slack", nasty)
    assert slack["text"] == "&lt;!channel&gt; &lt;https://evil.example|free GPUs&gt; &amp;"
    assert {block["text"]["type"] for block in slack["blocks"] if "text" in block} == {"plain_text"}
    card = formats.body("teams", nasty)["attachments"][0]["content"]
    assert "actions" not in card and {run["type"] for part in card["body"] for run in part["inlines"]} == {"TextRun"}


def test_the_standard_format_is_the_event_itself() -> None:
    found = event()
    assert formats.body("standard", found) == found == formats.body("whatever", found)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", ["standard", "slack", "teams"])
def test_what_is_sent_is_signed_as_it_is_sent(org: Org, form: str, settings: Any) -> None:
    """The signature covers the bytes of the format; the secret opens it as ever."""
    settings.OUTBOUND_ALLOW = settings.OUTBOUND_ALLOW | {"webhook": ["127.0.0.0/8"]}
    with receiver(status=200) as there:
        hook, secret = webhooks.create(
            org.principal(org.omar), project=org.fraud, name="chat", url=there.url, format=form
        )
        webhooks.test(org.principal(org.omar), hook)
        assert calls.deliver() == 1
        [(headers, body)] = there.seen
    wanted = signing.sign(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == wanted and b"tests the webhook chat" in body
    if form in SCHEMAS:
        jsonschema.validate(json.loads(body), SCHEMAS[form])
    else:
        assert json.loads(body)["type"] == "webhook.test"


def test_the_format_is_chosen_by_page_and_api(org: Org, client_for: Any, api_for: Any, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = settings.OUTBOUND_ALLOW | {"webhook": ["127.0.0.0/8"]}
    url = "http://127.0.0.1:9/hook"
    client = client_for(org.omar)
    form = {"name": "chat", "url": url, "enabled": "on", "format": "teams"}
    assert client.post("/projects/fraud-detection/webhooks/new/", form).status_code == 200
    hook = Webhook.objects.get()
    assert hook.format == "teams" and "Teams message" in client.get(f"/webhooks/{hook.pk}/").content.decode()
    wrong = client.post(f"/webhooks/{hook.pk}/change/", form | {"format": "irc"})
    assert wrong.status_code == 422 and "choose one of standard, slack, teams" in wrong.content.decode()
    api = api_for(org.omar, "admin")
    made = api.post("/webhooks", {"project": "fraud-detection", "name": "two", "url": url, "format": "slack"}).json()
    assert made["format"] == "slack" and made["secret"].startswith("whsec_")
    path = f"/webhooks/{made['id']}"
    changed = api.patch(path, {"format": "standard"}, If_Match=api.get(path)["ETag"])
    assert changed.json()["format"] == "standard"
    bad = api.post("/webhooks", {"project": "fraud-detection", "name": "x", "url": url, "format": "irc"})
    assert bad.status_code == 422 and bad.json()["errors"][0]["field"] == "format"


def test_telling_needs_nothing_new(org: Org) -> None:
    """What is stored stays the portal's own event: a webhook that changes its format replays in the new one."""
    Webhook.objects.create(
        name="all", url="http://127.0.0.1:9/", signing=signing.keep(signing.new_secret()), format="slack"
    )
    tell("request.approved", [org.dana], title="R-1 is approved.", project=org.fraud)
    row = Webhook.objects.get().deliveries.get()
    assert set(row.payload) == {"type", "timestamp", "data"}
