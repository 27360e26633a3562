"""Where a browser looks: every page of the URL matrix, and who of the story opens it."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

from tests.stack.story import BASE, OTHER, PROJECT, WAITS, Row, Story
from tests.stack.story_catalog import DRAFT, LEAVING, MODEL, VERSION
from tests.test_url_matrix import PAGES, path_of
from tests.world import PERSONAS

# Who looks at a page: the first who may change something there, else the first who may read it.
LOOKERS = ("omar", "pat", "yasmine", "dana", "aud", None)
# Pages for one person of the story, whatever the matrix says of others, and states that an address alone does not name.
MORE = {
    "omar": [
        f"/requests/new/?kind=quota&project={PROJECT}",
        "/usage/?range=7d",
        "/endpoints/?sort=-name&q=s",
        "/search/?q=sc",
        "/api/v1/docs",
    ],
    "dana": [
        "/",
        "/notifications/",
        f"/requests/new/?asset=qwen3-8b&version=1.0&project={PROJECT}",
        "/catalog/compare/?v=qwen3-8b@1.0&v=granite-3.3-8b-instruct@1.0",
        "/catalog/?view=table",
        "/catalog/deepwiki/?tab=tools",
        f"/requests/new/?kind=mcp-access&asset=deepwiki&version=2026-11&project={PROJECT}",
        *(f"/catalog/granite-3.3-2b-instruct/?tab={tab}" for tab in ("evidence", "versions", "history")),
        "/requests/?q=nothing-like-it",
        "/catalog/propose/?kind=mcp-server",
        f"/catalog/{MODEL}/?tab=evidence",
        f"/projects/{PROJECT}/keys/new/?endpoint=backtest",  # under a licence whose terms nobody has acknowledged
    ],
    "pat": [
        "/",
        "/insights/",
        f"/catalog/{MODEL}/?tab=evidence",
        f"/catalog/{MODEL}/versions/{VERSION}/evidence/signature/",
        "/catalog/{}/versions/{}/submit/".format(*DRAFT),
        "/catalog/{}/versions/{}/discard/".format(*DRAFT),
        "/catalog/{}/?version={}".format(*LEAVING),
        "/catalog/{}/versions/{}/retire/".format(*LEAVING),
    ],
    "yasmine": ["/", "/requests/", "/requests/new/?kind=waiver"],
    "aud": ["/"],
}


# Addresses that answer a file: a browser keeps it instead of showing it.
FILES = {
    "clusters/access/<slug:driver>/",
    "clusters/<slug:cluster>/admission/manifest/",
    "requests/<int:pk>/yaml/",
    # Not of the story, whose cluster is never scanned: tests/endpoints/test_rogue_pages.py opens them.
    "rogue/<int:rogue_id>/",
    "rogue/<int:rogue_id>/adopt/",
    "import/<int:proposal_id>/",
    "approvals/by-mail/<str:token>/",  # signed by the portal, and only mails hold it
    "catalog/<str:slug>/versions/<str:version>/evidence/",
    "catalog/<str:slug>/versions/<str:version>/ml-bom/",
}


class Places:
    """The story's objects under the names that the matrix uses (tests.world.World)."""

    def __init__(self, story: Story) -> None:
        self.endpoints, self.requests = story.endpoints(), story.requests()
        keys = story.call("GET", f"/projects/{PROJECT}/keys", "omar")["items"]
        shares = story.call("GET", f"/endpoints/{self.endpoints['answers']['id']}/shares", "omar")["items"]
        hooks = story.call("GET", "/webhooks", "omar")["items"]
        applications = story.call("GET", f"/projects/{PROJECT}/applications", "omar")["items"]
        reviews = story.call("GET", "/access/reviews", "pat")["items"]
        mappings = story.call("GET", "/sso/mappings", "pat")["items"]
        grants = story.call("GET", "/catalog/assets/granite-3.3-2b-instruct/grants", "pat")["items"]
        self.world: Any = SimpleNamespace(
            org=SimpleNamespace(fraud=SimpleNamespace(slug=PROJECT)),
            version=SimpleNamespace(version="1.0", asset=SimpleNamespace(slug="granite-3.3-2b-instruct")),
            running=_of(self.endpoints["scoring"]),
            suspended=_of(self.endpoints["triage"]),
            failed=_of(self.endpoints["letters"]),
            key=_of(keys[0]),
            webhook=_of(hooks[0]),
            place=_place(story),
            pool=SimpleNamespace(slug="gpu-pool"),
            application=_of(applications[0]),
            review=_of(reviews[0]),
            mapping=_of(mappings[0]),
            grant=_of(grants[0]),
            submitted=_of(self.requests["review"]),
            draft=_of(self.requests["glossary"]),
            share=_of(shares[0]),
            preview=_preview(story),
            waiver=_waiver(story),
            verdict=SimpleNamespace(pk=1, rule="small-dev"),
            rogue=SimpleNamespace(pk=1),
            proposal=SimpleNamespace(pk=1),
            # what only takes a POST
            notification=SimpleNamespace(pk=1),
            delegation=SimpleNamespace(pk=1),
            view=SimpleNamespace(pk=1),
            server_grant=SimpleNamespace(pk=1),
            group=SimpleNamespace(pk=1),
        )
        # what is shared is another endpoint than the one that is called all day
        self.shared: Any = SimpleNamespace(**vars(self.world) | {"running": _of(self.endpoints["answers"])})

    def of(self, person: str | None) -> list[str]:
        """The addresses at which `person` looks."""
        found = [
            path_of(route, self.shared if "share_id" in route else self.world)
            for route in sorted(PAGES)
            if looker(route) == person and route not in FILES
        ]
        if person == "omar":
            others = (self.endpoints["letters"], self.endpoints[WAITS], self.endpoints["answers"])
            found += [f"/endpoints/{item['id']}/" for item in others]
            found.append(f"/endpoints/{self.endpoints['scoring']['id']}/revisions/?on={dt.datetime.now(dt.UTC).date()}")
            found += [f"/projects/{OTHER}/", f"/projects/{OTHER}/limits/"]
        if person == "pat":
            found += [f"/approvals/{self.requests[name]['id']}/" for name in ("renewal", "quota", "admission")]
        return found + MORE.get(person or "", [])


def _preview(story: Story) -> SimpleNamespace:
    """A look at what the rules that count would change: nothing."""
    lead = story.stack.token("yasmine", "policies:read", "policies:write")
    files = story.call("GET", "/policies?files=true", lead)["files"]
    return _of(story.call("POST", "/policies/preview", lead, {"files": files}))


def _place(story: Story) -> SimpleNamespace:
    """A cluster at an address where nothing listens, which says so on its page."""
    if not any(one["slug"] == "outpost" for one in story.call("GET", "/clusters", "pat")["items"]):
        access = {"authentication": "token", "server": "https://127.0.0.1:1", "token": "nobody"}
        fields = {"slug": "outpost", "name": "Outpost", "driver": "kubernetes", "environments": ["prod"]}
        story.call("POST", "/clusters", story.stack.token("pat", "admin"), fields | {"access": access})
    return SimpleNamespace(slug="outpost")


def _waiver(story: Story) -> SimpleNamespace:
    """A rule that is let pass for a draft of dana's, for a while."""
    soon = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=12)).isoformat()
    fields = {
        "name": "card-raw", "asset": "qwen3-8b", "hardware_profile": "l40s-48gb", "data_classification": "restricted",
        "environment": "dev", "ends_on": soon, "draft": True, "purpose": "Score raw card numbers.",
    }  # fmt: skip
    draft = story.call("POST", "/requests", "dana", BASE | fields)
    asked = story.call(
        "POST",
        "/waivers",
        "dana",
        {
            "request": draft["id"], "check": "data-101", "owner": "omar", "ends_on": soon,
            "purpose": "There is no staging for restricted data before January.",
            "compensating_control": "Made-up card numbers until then; the loader refuses others.",
        },
    )  # fmt: skip
    lead = story.stack.token("yasmine", "approvals:decide")
    story.call("POST", f"/requests/{asked['id']}/decisions", lead, {"decision": "approve", "reason": "Until January."})
    return _of(story.call("GET", "/waivers", "dana")["items"][0])


def _of(item: Row) -> SimpleNamespace:
    return SimpleNamespace(pk=item["id"])


def looker(route: str) -> str | None:
    """Who looks at `route`; "" when nobody gets a page there."""
    row = PAGES[route]
    read = dict(zip(PERSONAS, row.get.split(), strict=True))
    write = dict(zip(PERSONAS, row.post.split(), strict=True))
    may = [person for person in LOOKERS if read[person] == "200"]
    return next((person for person in may if write[person] in {"200", "302"}), may[0] if may else "")
