"""A portal in the middle of its life, for every page and every picture: filled through the REST API as people would.

Endpoints that run, failed, wait, end soon and lie idle; a revision and a share; requests in every state; quotas, a
raise, keys, a webhook, calls and two days of sample traffic.
"""

import datetime as dt
import http.client
import json
import math
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from tests.stack import story_catalog
from tests.stack.conftest import ROOT, Stack, wait_for

PROJECT, OTHER = "fraud-detection", "search-ranking"
HOURS_OF_TRAFFIC = 48
WAITS = "forecast"  # needs more accelerators than are left
Row = dict[str, Any]

BASE: Row = {
    "kind": "endpoint", "project": PROJECT, "version": "1.0", "environment": "dev", "replicas": 1, "concurrency": 8,
    "context_tokens": 4096, "data_classification": "internal",
}  # fmt: skip
# asks, decision, what is asked; "days" until it ends
STORY: list[tuple[str, str, Row]] = [
    ("dana", "reject", {"name": "everything", "asset": "gpt-oss-20b", "hardware_profile": "4x-h100-80gb",
     "purpose": "A big model, to be on the safe side."}),
    ("dana", "approve", {"name": "scoring", "asset": "granite-3.3-2b-instruct", "hardware_profile": "l4-24gb",
     "purpose": "Explain to the fraud desk why a card payment was held."}),
    ("dana", "approve", {"name": "triage", "asset": "qwen3-8b", "hardware_profile": "l40s-48gb",
     "environment": "staging", "concurrency": 16, "context_tokens": 8192,
     "purpose": "Sort incoming chargeback letters by reason code."}),
    ("omar", "approve", {"project": OTHER, "name": "answers", "asset": "granite-3.3-8b-instruct", "replicas": 2,
     "hardware_profile": "l40s-48gb", "days": 24, "purpose": "Draft answers for the help centre; people send them."}),
    ("dana", "approve", {"name": "backtest", "asset": "llama-3.1-8b-instruct", "hardware_profile": "l40s-48gb",
     "days": 12, "purpose": "Replay last year's cases against the new scoring rules."}),
    ("dana", "approve", {"name": "letters", "asset": "demo-failures", "version": "oom", "hardware_profile": "cpu-demo",
     "purpose": "Try what the desk sees when an engine cannot start."}),
    ("dana", "request_changes", {"name": "notes", "asset": "phi-4-mini-instruct", "hardware_profile": "l4-24gb",
     "data_classification": "confidential", "purpose": "Summarise the notes of investigators."}),
    ("dana", "", {"name": "review", "asset": "qwen2.5-coder-7b-instruct", "hardware_profile": "l40s-48gb",
     "environment": "prod", "concurrency": 16, "data_classification": "confidential",
     "purpose": "Second reader for changes to the scoring rules; proposes, never merges."}),
    ("omar", "", {"project": OTHER, "name": "rerank", "asset": "bge-small-en-v1.5", "version": "1.5",
     "hardware_profile": "l4-24gb", "context_tokens": 512, "purpose": "Embed help articles for the new ranking."}),
    ("dana", "", {"name": "assistant", "asset": "mistral-small-3.2-24b-instruct", "version": "2506",
     "hardware_profile": "h100-80gb", "context_tokens": 16384, "purpose": "Chat about policies for new analysts."}),
]  # fmt: skip
DRAFT = BASE | {"name": "glossary", "asset": "qwen3-8b", "hardware_profile": "l40s-48gb", "draft": True,
                "purpose": "Explain card scheme terms to new analysts."}  # fmt: skip
QUOTAS: Row = {
    "gpus": {"limit": 6},
    "tokens": [
        {"target": "project", "window": "day", "soft": 600_000, "hard": 1_000_000},
        {"target": "project", "window": "month", "soft": 8_000_000, "hard": 10_000_000},
        {"target": "endpoint", "name": "triage", "window": "day", "soft": 250_000, "hard": 400_000},
    ],
}
KEYS = {"scoring-service": ["scoring"], "notebook-dana": ["scoring", "triage"], "triage-batch": ["triage"]}
# Only numbers of the projects are needed, and only the journal asks for them.
PROJECT_IDS = """
import json
from projects.models import Project
print(json.dumps(dict(Project.objects.values_list("slug", "pk"))))
"""
# People need hours where a script needs milliseconds: what the story sent was sent longer ago, and two endpoints
# have been there, unused, for weeks.
LONGER_AGO = """
import datetime as dt
from django.db.models import F
from approvals.models import Request
from endpoints.models import Endpoint
from quotas.models import Reservation
hours = {
    "scoring": 5, "triage": 9, "answers": 27, "review": 51, "rerank": 20, "assistant": 3, "notes": 30, "backtest": 70}
for name, amount in hours.items():
    ago = dt.timedelta(hours=amount, minutes=amount * 7 % 60)
    Request.objects.filter(name=name, kind="endpoint").update(
        created_at=F("created_at") - ago, submitted_at=F("submitted_at") - ago)
for name, days in {"answers": 19, "backtest": 11}.items():
    ago = dt.timedelta(days=days)
    Request.objects.filter(name=name, kind="endpoint").update(
        created_at=F("created_at") - ago, submitted_at=F("submitted_at") - ago, decided_at=F("decided_at") - ago)
    old = Endpoint.objects.get(name=name)
    Endpoint.objects.filter(pk=old.pk).update(created_at=F("created_at") - ago, ready_at=F("ready_at") - ago)
    Reservation.objects.filter(holder_id=str(old.pk)).update(held_at=F("held_at") - ago)
print("true")
"""
REASONS = {
    "approve": "Fits the card, inside the budget of the project.",
    "reject": "Four H100 for a trial: start with granite-3.3-8b-instruct on one L40S and measure.",
    "request_changes": "Confidential notes: name the retention period in the purpose, please.",
}


class Story:
    """Fills an empty portal, or finds its way in one that was filled."""

    def __init__(self, stack: Stack, calls: int = 120) -> None:
        self.stack, self.calls = stack, calls
        scopes = ("requests:read", "requests:write", "endpoints:read", "endpoints:write", "usage:read", "admin")
        self.people = {name: stack.token(name, *scopes) for name in ("dana", "omar")}
        self.people["dana's catalog"] = stack.token("dana", "catalog:read", "catalog:write")
        more = ("approvals:decide", "catalog:read", "catalog:write", "audit:read")
        self.people["pat"] = stack.token("pat", *scopes, *more)
        self.deciders = {"pat": self.people["pat"]} | {
            name: stack.token(name, "approvals:decide", "requests:read") for name in ("omar", "yasmine")
        }

    def call(self, method: str, path: str, person: str, body: Row | None = None) -> Row:
        """One call that must work."""
        status, answer = self.stack.call(method, f"/api/v1{path}", self.people.get(person, person), body)
        if status >= 400:
            sys.exit(f"{method} {path} by {person} answered {status}: {answer}")
        return dict(answer or {})

    def ask(self, person: str, wanted: Row, decision: str = "", by: str = "pat") -> Row:
        """One request, and its decision."""
        made = self.call("POST", "/requests", person, wanted)
        if decision:
            body = {"decision": decision, "reason": REASONS[decision]}
            said = self.call("POST", f"/requests/{made['id']}/decisions", self.deciders[by], body)
            if decision == "approve" and said["state"] == "submitted":  # the rules ask for governance, too
                self.call("POST", f"/requests/{made['id']}/decisions", self.deciders["yasmine"], body)
        return made

    def run(self) -> None:
        """Requests, decisions, sharing, quotas, keys, traffic."""
        story_catalog.propose(self)
        for person, decision, wanted in STORY:
            days = wanted.get("days", 90)
            fields = {name: value for name, value in wanted.items() if name != "days"}
            self.ask(person, BASE | fields | {"ends_on": _day(days)}, decision)
        self.call("POST", "/requests", "dana", DRAFT | {"ends_on": _day(60)})
        wait_for(self.settled, 180, "every endpoint to be ready or failed")
        self.live_with_it()
        path = f"/projects/{PROJECT}/keys"
        keys = {
            name: self.call("POST", path, "dana", {"name": name, "endpoints": targets})
            for name, targets in KEYS.items()
        }
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: self.chat(keys["scoring-service"]["secret"], number), range(self.calls)))
        self.history([keys["triage-batch"], keys["notebook-dana"]])
        self.shell(LONGER_AGO)

    def live_with_it(self) -> None:
        """What comes after the first day: another size, a share, more GPUs, a place in the queue, new wishes."""
        found = self.endpoints()
        scoring, answers, backtest = (found[name]["id"] for name in ("scoring", "answers", "backtest"))
        self.change("PUT", f"/projects/{PROJECT}/quotas", "pat", QUOTAS)
        self.ask("dana", {
            "kind": "revision", "endpoint": scoring, "version": "1.0", "hardware_profile": "l4-24gb", "replicas": 1,
            "concurrency": 16, "context_tokens": 4096, "purpose": "The desk works in two shifts from Monday.",
        }, "approve")  # fmt: skip
        self.change("PATCH", f"/endpoints/{answers}", "omar", {"shareable": True})
        self.ask("dana", {"kind": "access", "project": PROJECT, "endpoint": answers, "ends_on": _day(45),
                          "purpose": "Draft replies to card holders."}, "approve", by="omar")  # fmt: skip
        self.ask("dana", {"kind": "quota", "project": PROJECT, "quota": "gpus", "target": "project", "hard": 8,
                          "ends_on": _day(40), "purpose": "A month of forecasts before the audit."},
                 "approve")  # fmt: skip
        self.ask("dana", {"kind": "renewal", "endpoint": backtest, "ends_on": _day(100),
                          "purpose": "Two more rule sets are to be replayed."})  # fmt: skip
        self.ask("dana", {"kind": "quota", "project": PROJECT, "quota": "tokens", "target": "project", "window": "day",
                          "soft": 1_500_000, "hard": 2_000_000, "ends_on": _day(10),
                          "purpose": "Reclassify the backlog of October."})  # fmt: skip
        self.propose("phi-4-mini-instruct", "1.1")
        story_catalog.go_on(self, ends_on=_day(120))
        self.call("POST", f"/projects/{PROJECT}/applications", "omar", {
            "name": "merge checks", "scopes": ["requests:read"], "description": "Checks requests in merge requests.",
        })  # fmt: skip
        self.call("POST", "/sso/mappings", "pat", {"group": "fraud-team", "project": PROJECT, "role": "viewer"})
        self.call("POST", "/access/reviews", "pat", {"name": "Last quarter", "due_on": _day(20), "project": PROJECT})
        self.call("POST", "/catalog/assets/granite-3.3-2b-instruct/grants", "pat", {
            "project": PROJECT, "reason": "The fraud desk stays with it.",
        })  # fmt: skip
        self.call("POST", "/webhooks", "omar", {
            "project": PROJECT, "name": "tickets", "url": "https://93.184.215.14/tickets", "enabled": False,
        })  # fmt: skip
        wait_for(self.settled, 120, "the second revision of scoring")
        self.ask("dana", BASE | {"name": WAITS, "asset": "gpt-oss-20b", "hardware_profile": "4x-h100-80gb",
                                 "purpose": "Forecast fraud losses for the audit.", "ends_on": _day(40)},
                 "approve")  # fmt: skip

    def propose(self, slug: str, name: str, *, send: bool = True) -> None:
        """Another version of an asset of the demo catalog is proposed, and goes into review."""
        spec = yaml.safe_load((ROOT / "examples" / "catalog" / "models" / f"{slug}.yaml").read_text(encoding="utf-8"))
        path = f"/catalog/assets/{slug}/versions"
        self.call("POST", path, "pat", spec["versions"][0] | {"version": name})
        if send:
            self.call("POST", f"{path}/{name}/submit", "pat")

    def change(self, method: str, path: str, person: str, body: Row) -> None:
        """Change an object as it was read: its tag goes with it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.people[person]}", "Content-Type": "application/json"}
        try:
            connection.request("GET", f"/api/v1{path}", headers=headers)
            read = connection.getresponse()
            read.read()
            match = {"If-Match": read.headers["ETag"]}
            connection.request(method, f"/api/v1{path}", json.dumps(body), headers | match)
            response = connection.getresponse()
            answer = response.read().decode()
        finally:
            connection.close()
        if response.status >= 400:
            sys.exit(f"{method} {path} by {person} answered {response.status}: {answer}")

    def endpoints(self) -> dict[str, Row]:
        """All endpoints by name."""
        return {item["name"]: item for item in self.call("GET", "/endpoints?limit=100", "pat")["items"]}

    def requests(self) -> dict[str, Row]:
        """The requests for endpoints by name, all others by kind."""
        found = self.call("GET", "/requests?limit=100", "pat")["items"]
        return {item["name"] if item["kind"] == "endpoint" else item["kind"]: item for item in reversed(found)}

    def settled(self) -> bool:
        """Whether nothing moves any more: ready, failed, or in the queue for accelerators."""
        items = self.endpoints()
        quiet = all(row["phase"] in {"ready", "failed"} or name == WAITS for name, row in items.items())
        return bool(items) and quiet and not any(row.get("next_revision") for row in items.values())

    def chat(self, secret: str, number: int) -> None:
        """One real call through the gateway."""
        body = {
            "model": "scoring",
            "messages": [{"role": "user", "content": f"Case {number}: why was this card payment held?"}],
            "max_tokens": 40 + number % 60,
        }
        status, answer = self.stack.call("POST", "/v1/chat/completions", secret, body)
        if status != 200:
            sys.exit(f"a call answered {status}: {answer}")

    def history(self, keys: list[Row]) -> None:
        """Two days of sample calls, in a journal like those that gateways leave behind; the worker counts them."""
        triage = self.endpoints()["triage"]
        project = self.shell(PROJECT_IDS)[PROJECT]
        dice, now = random.Random(7), dt.datetime.now(dt.UTC)  # the same picture each time
        lines: list[str] = []
        for minute in range(HOURS_OF_TRAFFIC * 60, 1, -3):
            at = now - dt.timedelta(minutes=minute)
            busy = 0.25 + max(0.0, math.sin((at.hour - 6) / 12 * math.pi))  # office hours
            for key, share in zip(keys, (0.7, 0.2), strict=True):
                if dice.random() < share * busy:
                    lines.append(_line(len(lines) + 1, at, dice, triage, key, project))
        path = self.stack.state / "journal" / "sample.jsonl"
        head = json.dumps({"gateway": "sample", "pid": 0, "started": now.isoformat()})
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")

        def counted() -> bool:
            since = (now - dt.timedelta(days=3)).date()
            rows = self.call("GET", f"/usage?project={PROJECT}&interval=day&group_by=project&from={since}", "dana")
            return sum(int(row["requests"]) for row in rows["items"]) >= len(lines) + self.calls

        wait_for(counted, 60, "the sample traffic to be counted")

    def shell(self, code: str) -> Any:
        """Run code in the portal's shell; the last line that it prints is JSON."""
        return json.loads(self.stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1])


def _day(days: int) -> str:
    return (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)).isoformat()


def _line(number: int, at: dt.datetime, dice: random.Random, endpoint: Row, key: Row, project: int) -> str:
    first = dice.lognormvariate(5.2, 0.35) * (1.6 if endpoint["name"] == "triage" else 1)
    output = int(dice.lognormvariate(5, 0.5))
    failed = dice.random() < 0.012
    return json.dumps({
        "s": number, "t": "end", "at": at.isoformat(), "request_id": f"sample-{number}", "project_id": project,
        "endpoint_id": endpoint["id"], "endpoint": endpoint["name"], "key_id": key["id"], "key": key["prefix"],
        "person": "dana", "purpose": "api", "operation": "chat", "stream": True,
        "status": 502 if failed else 200, "outcome": "error" if failed else "ok",
        "input_tokens": int(dice.lognormvariate(6, 0.4)), "output_tokens": 0 if failed else output,
        "cached_tokens": dice.choice([0, 0, 128, 256]),
        "ttft_ms": None if failed else round(first, 1), "latency_ms": round(first + output * 9, 1),
    })  # fmt: skip
