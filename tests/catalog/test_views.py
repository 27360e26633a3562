"""The pages of the catalog: what each person sees, filters in the address, parts for htmx, hostile descriptions."""

import csv
import io
import itertools
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from catalog import services
from catalog.listings import refresh
from catalog.models import Asset, Evidence, Listing, Version, VersionState
from catalog.specs import AssetSpec
from tests.catalog.test_services import ASSET, VERSION
from tests.factories import CARD, make_asset, make_profile, make_version

pytestmark = pytest.mark.slow

LIST = "/catalog/"
FACTS = {
    "remotes": [{"type": "streamable-http", "url": "https://mcp.example.com/mcp"}],
    "packages": [{"type": "npm", "identifier": "@example/mcp"}],
    "auth": {"required": True, "kinds": ["oauth"]},
    "tools": [
        {"name": "list_things", "read_only_hint": True},
        {"name": "drop_things", "read_only_hint": False, "destructive_hint": True},
        {"name": "who_knows"},
    ],
}


def text(response, status=200):
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def names(page):
    return re.findall(r'class="gh-asset__name" href="[^"]*">([^<]*)<', page)


def test_it_works(org, client_for):
    make_version(asset=make_asset("tiny", name="Tiny", summary="A small one."))
    page = text(client_for(org.dana).get(LIST))
    assert names(page) == ["Tiny"] and "A small one." in page and "Approved" in page and "Demo engine" in page


def test_the_menu_knows_both_pages():
    assert reverse("catalog_list") == LIST
    assert reverse("catalog_detail", args=["granite-3.3-2b-instruct"]) == "/catalog/granite-3.3-2b-instruct/"


@pytest.mark.parametrize(
    ("person", "sees"),
    [("dana", {"Approved", "Blocked"}), ("cy", {"Approved", "Blocked"}), ("aud", {"Approved", "Blocked", "Draft"}),
     ("pat", {"Approved", "Blocked", "Draft"}), ("yasmine", {"Approved", "Blocked", "Draft"})],
)  # fmt: skip
def test_drafts_are_for_reviewers(org, client_for, person, sees):
    for state in (VersionState.APPROVED, VersionState.BLOCKED, VersionState.DRAFT):
        make_version(state, asset=make_asset(state.value, name=state.label))
    client = client_for(getattr(org, person))
    assert set(names(text(client.get(LIST)))) == sees
    assert client.get("/catalog/draft/").status_code == (200 if "Draft" in sees else 404)


def test_signed_out_people_are_sent_to_the_door(org, client):
    assert client.get(LIST).status_code == 302
    assert client.get("/catalog/tiny/").status_code == 302


def test_only_get(org, client_for):
    assert client_for(org.pat).post(LIST).status_code == 405


def test_request_is_offered_for_approved_versions_to_people_who_may_ask(org, client_for):
    for state in (VersionState.APPROVED, VersionState.DEPRECATED, VersionState.BLOCKED):
        make_version(state, asset=make_asset(state.value))
    make_version(asset=make_asset("server", kind="mcp-server"))
    page = text(client_for(org.dana).get(LIST))
    assert sorted(re.findall(r'href="([^"]*)" aria-label="Request', page)) == [
        reverse("request_new") + "?asset=approved&amp;version=1.0",
        reverse("request_new") + "?kind=mcp-access&amp;asset=server&amp;version=1.0",
    ]
    assert 'aria-label="Request' not in text(client_for(org.vic).get(LIST)), "a viewer cannot ask"
    detail = text(client_for(org.dana).get("/catalog/approved/"))
    assert "?asset=approved&amp;version=1.0" in detail
    assert "Request this model" not in text(client_for(org.dana).get("/catalog/deprecated/"))


def test_filters_come_from_the_address(org, client_for):
    make_version(asset=make_asset("chatty", name="Chatty", tasks=["chat"]))
    make_version(asset=make_asset("coder", name="Coder", tasks=["code"]))
    make_version(asset=make_asset("server", name="Server", kind="mcp-server", tasks=["code"]))
    client = client_for(org.dana)
    assert names(text(client.get(LIST + "?kind=model"))) == ["Chatty", "Coder"]
    assert names(text(client.get(LIST + "?kind=model&task=code"))) == ["Coder"]
    assert names(text(client.get(LIST + "?task=code&task=chat"))) == ["Chatty", "Coder", "Server"]
    assert names(text(client.get(LIST + "?q=SERV"))) == ["Server"]
    assert names(text(client.get(LIST + "?size=under-4b&state=approved&licence=Apache-2.0"))) == [
        "Chatty", "Coder", "Server",
    ]  # fmt: skip
    nothing = text(client.get(LIST + "?q=nothing-like-it"))
    assert "No asset matches" in nothing and "Clear all filters" in nothing


def test_facets_count_beside_the_other_choices(org, client_for):
    make_version(asset=make_asset("chatty", tasks=["chat"]))
    make_version(asset=make_asset("coder", tasks=["code"]))
    make_version(asset=make_asset("server", kind="mcp-server", tasks=["code"]))
    response = client_for(org.dana).get(LIST + "?kind=model")
    found = {
        facet["key"]: {item["value"]: item["count"] for item in facet["options"]}
        for facet in response.context["facets"]
    }
    assert found["kind"] == {"model": 2, "mcp-server": 1}, "its own choice does not narrow a facet"
    assert found["task"] == {"chat": 1, "code": 1}


def facets_of(response):
    return {
        facet["key"]: {item["value"]: item["count"] for item in facet["options"]}
        for facet in response.context["facets"]
    }


def test_every_facet_counts_and_filters(org, client_for):
    by = org.principal(org.pat)
    small = make_version(asset=make_asset("small", name="Small", tasks=["chat", "code"]))
    long = {**small.needs, "parameters": 70 * 10**9, "max_context_tokens": 1_000_000}
    make_version(asset=make_asset("huge", name="Huge"), needs=long)
    Version.objects.filter(asset__slug="huge").update(licence="MIT")
    make_version(asset=make_asset("server", name="Server", kind="mcp-server"))
    Version.objects.filter(asset__slug="server").update(needs={})
    Evidence.objects.exclude(version=small).delete()
    for slug in ("huge", "server"):
        refresh(Asset.objects.get(slug=slug))
    services.collect_evidence(by, small)
    make_profile(gpus=1, memory_gib=24, slug="l4")
    make_profile(gpus=4, memory_gib=80, slug="h100x4")
    client = client_for(org.dana)
    found = facets_of(client.get(LIST))
    assert found["fit"] == {"l4": 1, "h100x4": 2}, "what fits on little fits on much"
    assert found["size"] == {"under-4b": 1, "over-30b": 1}
    assert found["context"] == {"to-128k": 1, "over-128k": 1}
    assert found["evidence"]["none"] == 2 and sum(found["evidence"].values()) == 3
    assert found["task"] == {"chat": 3, "code": 1}
    for query, expected in {
        "fit=l4": ["Small"],
        "fit=h100x4": ["Huge", "Small"],
        "context=over-128k": ["Huge"],
        "size=over-30b&size=under-4b": ["Huge", "Small"],
        "evidence=none&kind=model": ["Huge"],
        "licence=MIT": ["Huge"],
        "task=code": ["Small"],
        "state=approved&q=sma": ["Small"],
        "fit=nothing": [],
        "context=nothing": [],
        "task=%25": [],
    }.items():
        response = client.get(f"{LIST}?{query}")
        assert names(text(response)) == expected, query
        assert response.context["found"] == len(expected), query


def test_each_count_is_what_a_click_shows(org, client_for):
    """The number beside every filter equals the length of the list that it leads to."""
    make_profile(gpus=1, memory_gib=24, slug="l4")
    for number, (kind, task, licence) in enumerate(
        itertools.product(("model", "mcp-server"), ("chat", "code"), ("MIT", "Apache-2.0"))
    ):
        made = make_version(asset=make_asset(f"a-{number}", kind=kind, tasks=[task, "all"]))
        Version.objects.filter(pk=made.pk).update(licence=licence)
        refresh(made.asset)
    client = client_for(org.dana)
    for query in ("", "kind=model", "kind=model&task=chat", "licence=MIT&task=code&q=a", "fit=l4&kind=mcp-server"):
        for key, counts in facets_of(client.get(f"{LIST}?{query}")).items():
            others = "&".join(part for part in query.split("&") if part and not part.startswith(f"{key}="))
            for value, number in counts.items():
                assert client.get(f"{LIST}?{others}&{key}={value}").context["found"] == number, (query, key, value)


def test_the_file_holds_what_the_filters_keep(org, client_for):
    make_version(asset=make_asset("evil", name="=1+1", tasks=["chat", "code"]))
    make_version(asset=make_asset("other", name="Other", kind="mcp-server"))
    response = client_for(org.dana).get(LIST + "?kind=model&format=csv")
    lines = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert response["Content-Type"].startswith("text/csv") and "attachment" in response["Content-Disposition"]
    assert [(line["slug"], line["name"], line["tasks"]) for line in lines] == [("evil", "'=1+1", "chat, code")]


@pytest.mark.slow
def test_ten_thousand_assets_cost_no_more_queries(org, client_for):
    """At most five for the list with all its facets; how long they take is a matter for `make bench`."""
    model = make_version(asset=make_asset("first"))
    licences, tasks = ("MIT", "Apache-2.0", "NOASSERTION"), ("chat", "code", "embedding", "vision")
    Asset.objects.bulk_create(
        Asset(slug=f"a-{n}", kind=("model", "mcp-server")[n % 2], name=f"Asset {n}", tasks=[tasks[n % 4], tasks[n % 3]])
        for n in range(10_000)
    )
    facts = Listing.objects.filter(asset=model.asset).values().get(audience="public") | {"id": None}
    Listing.objects.bulk_create(
        Listing(**facts | {
            "asset_id": asset.pk, "name": asset.name, "kind": asset.kind, "licence": licences[n % 3],
            "parameters": 10**9 * (n % 90), "context_tokens": 1024 * (n % 300), "needed_bytes": 2**30 * (n % 200),
            "tasks": f"|{'|'.join(asset.tasks)}|", "text": asset.name.lower(), "version_id": model.pk,
        })
        for n, asset in enumerate(Asset.objects.exclude(slug="first"))
    )  # fmt: skip
    for gib in (24, 48, 80):
        make_profile(gpus=1, memory_gib=gib)
    client = client_for(org.dana)
    for query in ("", "?kind=model&task=chat&q=asset", "?page=400&sort=smallest"):
        client.get(LIST + query)
        with CaptureQueriesContext(connection) as seen:
            assert client.get(LIST + query).status_code == 200
        asked = [query for query in seen if 'FROM "catalog_' in query["sql"]]
        assert len(asked) <= 5, [query["sql"][:90] for query in asked]


@pytest.mark.parametrize(
    "query",
    [
        "kind=agent", "state=great", "page=0", "page=-1", "page=999", "page=x", "page=١", "sort=x", "view=x", "q=%00",
        "task=" + "x" * 900, "licence=%3Cscript%3E",
    ],
)  # fmt: skip
def test_a_strange_address_is_still_a_page(org, client_for, query):
    make_version()
    page = text(client_for(org.dana).get(f"{LIST}?{query}"))
    assert "<script>" not in page.replace("<script src", "")


def test_htmx_gets_the_part_and_a_short_address(org, client_for):
    make_version(asset=make_asset("tiny", name="Tiny"))
    response = client_for(org.dana).get(LIST + "?q=&sort=name&kind=model", headers={"HX-Request": "true"})
    page = text(response)
    assert "<html" not in page and names(page) == ["Tiny"]
    assert response["HX-Push-Url"] == "/catalog/?kind=model"
    assert "HX-Request" in response["Vary"]


def test_table_and_sort(org, client_for):
    big = make_version(asset=make_asset("big", name="Aa"))
    make_version(asset=make_asset("small", name="Zz"))
    Version.objects.filter(pk=big.pk).update(needs={**big.needs, "parameters": 9 * 10**10})
    refresh(big.asset)
    page = text(client_for(org.dana).get(LIST + "?view=table&sort=smallest"))
    assert "<table" in page and page.index(">Zz<") < page.index(">Aa<")


def test_pages_do_not_lose_or_repeat_an_asset(org, client_for):
    for number in range(30):
        make_version(asset=make_asset(f"a-{number:02}", name=f"Asset {number:02}"))
    client = client_for(org.dana)
    first, second = text(client.get(LIST)), text(client.get(LIST + "?page=2"))
    assert len(names(first)) == 24 and sorted(names(first) + names(second)) == [f"Asset {n:02}" for n in range(30)]
    assert 'href="/catalog/?page=2"' in first and 'href="/catalog/?"' in second


def test_the_list_costs_the_same_whatever_its_length(org, client_for, django_assert_max_num_queries):
    client = client_for(org.dana)
    make_profile(slug="cpu")
    for number in range(40):
        make_version(asset=make_asset(f"a-{number:02}"))
    client.get(LIST)
    with django_assert_max_num_queries(15):
        client.get(LIST)


def test_the_asset_page_costs_the_same_whatever_its_versions(org, client_for, django_assert_max_num_queries):
    client, asset = client_for(org.dana), make_asset("tiny")
    for number in range(12):
        make_version(asset=asset, version=f"1.{number}")
        make_profile(gpus=1)
    client.get("/catalog/tiny/")
    for tab in ("overview", "evidence", "versions"):
        with django_assert_max_num_queries(15):
            assert client.get(f"/catalog/tiny/?tab={tab}").status_code == 200


def test_the_best_version_is_shown_unless_another_is_named(org, client_for):
    asset = make_asset("tiny")
    make_version(asset=asset, version="1.0")
    make_version(VersionState.DEPRECATED, asset=asset, version="2.0")
    make_version(VersionState.DRAFT, asset=asset, version="3.0")
    client = client_for(org.dana)
    assert client.get("/catalog/tiny/").context["version"].version == "1.0"
    assert "deprecated" in text(client.get("/catalog/tiny/?version=2.0"))
    assert client.get("/catalog/tiny/?version=3.0").status_code == 404
    assert client_for(org.pat).get("/catalog/tiny/?version=3.0").status_code == 200


@pytest.mark.parametrize("tab", ["overview", "evidence", "facts", "versions", "nonsense"])
def test_every_tab_is_a_page(org, client_for, tab):
    services.load_asset(org.principal(org.pat), AssetSpec.model_validate(ASSET))
    page = text(client_for(org.pat).get(f"/catalog/tiny/?tab={tab}"))
    assert page.count('aria-current="page"') >= 2
    if tab == "evidence":
        assert 'href="/catalog/tiny/versions/1.0/evidence/licence/"' in page
        report = text(client_for(org.pat).get("/catalog/tiny/versions/1.0/evidence/licence/"))
        assert "&quot;expression&quot;: &quot;MIT&quot;" in report


def test_unverified_facts_are_marked(org, client_for):
    facts = {"config": {"sliding_window": 128, "layers": 4}, "unverified": ["sliding_window"], "sources": {"x": ["y"]}}
    spec = AssetSpec.model_validate({**ASSET, "versions": [{**VERSION, "facts": facts}]})
    services.load_asset(org.principal(org.pat), spec)
    page = text(client_for(org.pat).get("/catalog/tiny/?tab=facts"))
    assert page.count("not verified") >= 2 and "sliding_window" in page


def test_a_blocked_version_says_why(org, client_for):
    version = make_version(asset=make_asset("tiny"))
    services.block(org.principal(org.pat), version, "Its loader runs <b>code</b>.")
    page = text(client_for(org.dana).get("/catalog/tiny/"))
    assert "This version is blocked" in page and "runs &lt;b&gt;code" in page


def test_numbers_can_be_tried(org, client_for):
    make_version(asset=make_asset("tiny"))
    make_profile(memory_gib=16, slug="cpu")
    client = client_for(org.dana)
    assert ">Fits<" in text(client.get("/catalog/tiny/"))
    assert "Does not fit" in text(client.get("/catalog/tiny/?context=131072&calls=8"))
    for query in ("context=131073", "context=0", "context=x", "calls=-1", "calls=99999999999"):
        assert "Give a whole number from 1 to" in text(client.get(f"/catalog/tiny/?{query}"))


def test_tools_show_hints_and_their_absence(org, client_for):
    spec = {**ASSET, "kind": "mcp-server", "versions": [
        {"version": "1.0", "source": "mcp://example", "licence": "MIT", "facts": FACTS},
    ]}  # fmt: skip
    services.load_asset(org.principal(org.pat), AssetSpec.model_validate(spec))
    page = text(client_for(org.pat).get("/catalog/tiny/?tab=tools"))
    for words in ("read only", "destructive", "no hint given", "https://mcp.example.com/mcp", "version not pinned"):
        assert words in page, words
    assert "Request this model" not in page


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "![pixel](https://tracker.example.com/p.png)",
        '<a href="https://e.example" style="x" onclick="y">z</a>',
        '[a](https://e.example "x\\" onmouseover=\\"y")',
    ],
)
def test_a_hostile_description_is_text(org, client_for, markdown):
    make_version(asset=make_asset("tiny", description=f"{markdown}\n\n{CARD}"))
    page = text(client_for(org.dana).get("/catalog/tiny/"))
    prose = page.split('class="gh-prose">')[1].split("</section>")[0]
    tags = [re.sub(r'title="[^"]*"', "", tag) for tag in re.findall(r"<[^>]*>", prose)]
    assert tags
    assert not [tag for tag in tags if re.search(r"^<(script|img|iframe|style)|javascript:|data:|\son\w+=|style=", tag)]


def test_headings_of_a_description_stay_below_the_page(org, client_for):
    make_version(asset=make_asset("tiny", description=f"# One\n## Two\n### Three\n{CARD}"))
    page = text(client_for(org.dana).get("/catalog/tiny/"))
    assert page.count("<h1") == 1 and ">One</h3>" in page and ">Three</h4>" in page


def test_an_empty_catalog_says_how_to_fill_it(org, client_for):
    assert "The catalog is empty" in text(client_for(org.pat).get(LIST))


def test_an_asset_without_versions_is_a_page_for_stewards(org, client_for):
    make_asset("tiny")
    assert "No version yet" in text(client_for(org.pat).get("/catalog/tiny/"))
    assert client_for(org.dana).get("/catalog/tiny/").status_code == 404


@pytest.mark.parametrize("slug", ["nothing", "a%00b", "x" * 500, "%F0%9F%98%80"])
def test_an_unknown_asset_is_404(org, client_for, slug):
    assert client_for(org.pat).get(f"/catalog/{slug}/").status_code == 404
    assert client_for(org.pat).get(f"/catalog/{slug}/?version=%00").status_code == 404
