"""What each person sees and must not see, in every page, card, list, search and reading operation of the REST API.

The expectations are the tables of tests/leak_tables.py, the words are those of tests/leak_kit.py. Whatever a cell does
not allow is a leak, in the body and in the headers alike. A page, card, list or operation without a line fails this
file.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from approvals import mail_link
from approvals.models import Request
from approvals.policies.active import baseline
from endpoints import services as endpoints
from portal.api import api
from portal.home.cards import CARDS
from portal.listing import known
from projects.models import Membership, Role, User
from projects.permissions import SCOPES
from projects.principal import Principal
from tests import sharing
from tests.conftest import ApiClient, NoBroker, people
from tests.factories import request_body
from tests.leak_kit import Habitat, Zoo, frame_of, furnish, leaked, more_quokkas, wanted, words_of
from tests.leak_tables import (
    API_LINES,
    BULK_LINES,
    CALLERS,
    CARD_LINES,
    CSV_LINES,
    LISTS,
    NO_PAGES,
    PAGE_LINES,
    PERSONAS,
    SEARCH_LINES,
    Line,
    quokka,
)
from tests.test_url_matrix import PAGES, routes, said

pytestmark = pytest.mark.slow

Clients = dict[str, Client]

WORDS_IN_FILTERS = ("asset", "publisher", "slug", "endpoint", "person", "costcentre", "waiting", "key")


sharing.MAKERS["zoo"] = lambda folder: furnish(people(), folder / "calls")


@pytest.fixture
def zoo(db: None, state_dir: Any, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Zoo:
    monkeypatch.setattr("endpoints.nudge.current_app", NoBroker)
    settings.API_RATE_PER_MINUTE = 1_000_000
    found: Zoo = sharing.copied()
    return found


@pytest.fixture
def clients(zoo: Zoo, client_for: Callable[[User | None], Client]) -> Clients:
    """A browser of each persona."""
    return {name: client_for(getattr(zoo.org, name, None)) for name in PERSONAS}


@pytest.fixture
def callers(zoo: Zoo, api_for: Callable[..., ApiClient]) -> Clients:
    """A token of each caller with every scope; `noscope` has one that opens nothing."""
    org, alpaca = zoo.org, zoo.habitats["alpaca"].project
    found = {name: api_for(getattr(org, name), *SCOPES).client for name in PERSONAS[1:]}
    found |= {"nobody": Client(), "noscope": api_for(org.pat, "inference:invoke").client}
    found |= {"robot": api_for(zoo.robot, *SCOPES).client, "key": ApiClient(zoo.key).client}
    return found | {"bound": api_for(org.pat, *SCOPES, project=alpaca).client}


def address(line: Line, zoo: Zoo) -> str:
    """The path of a line with the objects of its project in it."""
    one = zoo.habitats[line.of]
    verb = line.place.rstrip("/").rsplit("/", 1)[-1]
    asked = one.requests["mine" if verb == "edit" else line.request]
    catalog = line.place.startswith(("/catalog", "catalog"))
    shared = (
        {"/pools": zoo.pool.slug, "/clusters": "local"}.get(f"/{line.place.split('/')[1]}", "") if line.place else ""
    )
    values = {
        "<slug:slug>": one.project.slug,
        "<slug:name>": "catalog",
        "<str:slug>": one.asset.slug,
        "<str:kind>": "project",
        "<int:grant_id>": str(one.grant.pk),
        "<uuid:application_id>": str(one.application.pk),
        "<int:mapping_id>": "987654",
        "<uuid:endpoint_id>": str(one.endpoints["endpoint"].pk),
        "<int:review_id>": str(one.review.pk),
        "<int:waiver_id>": str(one.waiver.pk),
        "<int:rogue_id>": "987654",
        "{rogue_id}": "987654",
        "<int:proposal_id>": "987654",
        "{waiver_id}": str(one.waiver.pk),
        "<str:rule>": "small-dev",
        "<str:username>": one.person.username,
        "<slug:preset>": "qa-engineer",
        "{review_id}": str(one.review.pk),
        "{application_id}": str(one.application.pk),
        "<str:rule_id>": baseline().rules[0].id,
        "<int:preview_id>": str(zoo.preview.pk),
        "{preview_id}": str(zoo.preview.pk),
        "<int:publication>": "0",
        "<int:share_id>": str(zoo.share.pk),
        "<int:number>": "1",
        "<uuid:key_id>": str(one.key.pk),
        "<uuid:webhook_id>": str(one.webhook.pk),
        "<slug:cluster>": "local",
        "<slug:pool>": zoo.pool.slug,
        "<slug:driver>": "kubernetes",
        "<int:pk>": str(asked.pk),
        "<str:token>": mail_link.sign(zoo.org.pat, asked),
        "{slug}": one.asset.slug if catalog else shared or one.project.slug,
        "{version}": "1.0",
        "<str:version>": "1.0",
        "<str:report>": "licence",
        "{endpoint_id}": str(one.endpoints["endpoint"].pk),
        "{webhook_id}": str(one.webhook.pk),
        "{request_id}": str(asked.pk),
    }
    path = line.place
    for name, value in values.items():
        path = path.replace(name, value)
    assert not re.search(r"[<{]", path), f"address() does not know what to put into {path}"
    return path + line.query


def judged(line: Line, cell: str, persona: str, response: Any, asked: str) -> Iterator[str]:
    """What is wrong with one answer."""
    words, word = words_of(response, asked), said(response)
    frame = frame_of(persona) if response["Content-Type"].startswith("text/html") else set()
    if leaks := leaked(words, "" if cell == "in" else cell, persona) - frame:
        yield f"leaks {', '.join(sorted(leaks))}"
    if cell == "*":
        return
    if (word == "in") != (cell == "in") or (cell == "-") != (response.status_code >= 400):
        yield f"answers {word}, not {cell}"
    of = line.of if "<" in line.place or "{" in line.place else ""
    if missing := wanted(line.shows, cell, persona, of) - set(re.findall("[a-z]+", asked.lower())) - words:
        yield f"does not show {', '.join(sorted(missing))}"


def look(lines: Iterable[Line], columns: tuple[str, ...], clients: Clients, ask: Callable[[Client, Line], Any]) -> None:
    """Ask for every line as every persona; what was changed is undone."""
    wrong = []
    for line in lines:
        for persona, cell in zip(columns, line.cells.split(), strict=True):
            with transaction.atomic():
                response, asked = ask(clients[persona], line)
                wrong += [
                    f"{line.at} of {line.of}: {persona} {what}" for what in judged(line, cell, persona, response, asked)
                ]
                transaction.set_rollback(True)
    assert not wrong, "\n".join(wrong)


def _get(client: Client, path: str, **headers: str) -> tuple[Any, str]:
    return client.get(path, headers=headers), path


def _patterns(resolver: Any = None) -> Iterator[URLPattern]:
    for one in (resolver or get_resolver()).url_patterns:
        yield from _patterns(one) if isinstance(one, URLResolver) else [one]


def test_everything_has_a_line() -> None:
    """A new page, card, list or reading operation is refused until somebody has said what each persona sees of it."""
    pages = {route for route, row in PAGES.items() if row.get.split()[1] != "405" and not route.startswith(NO_PAGES)}
    lines = {line.place for line in PAGE_LINES} | {"home/<str:card>/", "search/"}
    assert pages <= lines <= set(routes())
    assert {line.place for line in CARD_LINES} == {card.name for card in CARDS}
    bulk = {route for route in PAGES if route.endswith("/bulk/")}
    assert bulk == {line.place for line in BULK_LINES}
    paths = api.get_openapi_schema()["paths"]
    reading = {path.removeprefix("/api/v1") for path, methods in paths.items() if "get" in methods}
    assert reading == {line.place for line in API_LINES}
    named = {str(pattern.name) for pattern in _patterns()}
    assert {route for route in named if known(route)} == set(LISTS)  # tests make lists of their own
    assert {line.place for line in CSV_LINES} == {place for _, place in LISTS.values()}


def test_pages(zoo: Zoo, clients: Clients) -> None:
    look(PAGE_LINES, PERSONAS, clients, lambda client, line: _get(client, f"/{address(line, zoo)}"))


def test_cards_of_the_first_page(zoo: Zoo, clients: Clients) -> None:
    look(CARD_LINES, PERSONAS, clients, lambda client, line: _get(client, f"/home/{line.place}/"))


def test_search_and_its_suggestions(zoo: Zoo, clients: Clients) -> None:
    """The page, and the part of it that the box in the masthead shows."""
    look(SEARCH_LINES, PERSONAS, clients, lambda client, line: _get(client, f"/search/?q={line.of}{line.place}"))
    few = [replace(line, shows="") for line in SEARCH_LINES]
    part = {"HX-Request": "true"}
    look(few, PERSONAS, clients, lambda client, line: _get(client, f"/search/?q={line.of}{line.place}", **part))
    number = quokka(zoo).requests["waiting"].number
    for name in ("vic", "dana", "omar"):
        assert words_of(*_get(clients[name], f"/search/?q={number}")) <= frame_of(name), name


def test_lists_as_files(zoo: Zoo, clients: Clients) -> None:
    """With all columns, those too that a page leaves out."""
    columns = {place: ",".join(one.name for one in listing.columns) for listing, place in LISTS.values()}
    look(
        CSV_LINES, PERSONAS, clients,
        lambda client, line: _get(client, f"/{address(line, zoo)}?format=csv&columns={columns[line.place]}"),
    )  # fmt: skip


def test_no_order_filter_or_part_of_a_list_shows_more(zoo: Zoo, clients: Clients) -> None:
    """Every sort, every choice of every filter, the words of a hidden project as filter, and the part for htmx."""
    wrong = []
    lines = {line.place: line for line in PAGE_LINES if not line.query}
    for listing, place in LISTS.values():
        queries = [f"sort={sign}{one.name}" for one in listing.columns if one.sort for sign in ("", "-")]
        queries += [f"columns={','.join(one.name for one in listing.columns)}", "size=25"]
        for one in listing.filters:
            values = [value for value, _ in one.choices] if not callable(one.choices) else []
            values = ["1"] if one.kind == "flag" else ["2026-01-01"] if one.kind == "day" else values
            queries += [f"{one.name}={value}" for value in values]
            if one.kind in {"text", "search"} or callable(one.choices):
                queries += [f"{one.name}=quokka{word}" for word in WORDS_IN_FILTERS]
        line = lines[place]
        for query in queries:
            for persona, cell in zip(PERSONAS, line.cells.split(), strict=True):
                if persona not in {"cy", "dana"}:  # each is hidden from the other
                    continue
                response, asked = _get(clients[persona], f"/{address(line, zoo)}?{query}", **{"HX-Request": "true"})
                if leaks := leaked(words_of(response, asked), "" if cell in "-." else cell, persona):
                    wrong.append(f"{asked}: {persona} reads {sorted(leaks)}")
    assert not wrong, "\n".join(wrong)


def test_results_of_bulk_actions_name_nothing_hidden(zoo: Zoo, clients: Clients) -> None:
    """What is hidden has the same line of the results as what is not there."""

    def ask(client: Client, line: Line) -> tuple[Any, str]:
        path, body = f"/{address(line, zoo)}", dict(line.form(zoo))
        response = client.post(path, body)
        if client in (clients["dana"], clients["omar"]) and response.status_code == 200:
            unknown = str(uuid.uuid4()) if "-" in body["id"] else "987654"
            twin = client.post(path, body | {"id": unknown})
            assert _plain(response, body["id"]) == _plain(twin, unknown), line.at
        return response, path

    look(BULK_LINES, PERSONAS, clients, ask)


def test_the_api(zoo: Zoo, callers: Clients) -> None:
    look(API_LINES, CALLERS, callers, lambda client, line: _get(client, f"/api/v1{address(line, zoo)}"))


def test_a_token_or_key_opens_no_page(zoo: Zoo, callers: Clients) -> None:
    """Pages are for sessions: whoever comes with a token or key is sent to the sign-in."""
    for name, client in callers.items():
        for path in ("/", "/endpoints/?format=csv", "/search/?q=alpaca", "/capacity/"):
            response, asked = _get(client, path)
            assert said(response) == "in" and not words_of(response, asked), (name, path)


def test_capacity_says_another_project(zoo: Zoo, clients: Clients) -> None:
    """Boxes and queue: the hidden holders are there, without name, address, purpose, price or person."""
    for persona, own in (("dana", 2), ("cy", 2), ("vic", 2)):
        page = _main(clients[persona].get("/capacity/"))
        assert page.count("another project") >= 4, persona
        hidden = [one for one in zoo.habitats.values() if one.animal != {"cy": "quokka"}.get(persona, "alpaca")]
        assert not any(str(row.pk) in page for one in hidden for row in one.endpoints.values()), own
    assert "another project" not in _main(clients["pat"].get("/capacity/"))


def test_share_offers_are_of_shareable_endpoints_only(zoo: Zoo, callers: Clients, clients: Clients) -> None:
    """Quokka runs the same version, but its owner offers it to nobody: no offer, and no plan for asking."""
    asked = {"kind": "access", "project": "alpacaslug", "purpose": "The desk wants it.", "ends_on": _soon()}
    answers, own = {}, {"alpacacostcentre", "alpacateam"}  # of the project that asks: what its plan is judged by
    for of, place in (("lemur", "offer"), ("quokka", "offer"), ("quokka", "endpoint"), ("unknown", "")):
        known = zoo.habitats.get(of)
        identifier = str(known.endpoints[place].pk) if known else str(uuid.uuid4())
        response = _post(callers["dana"], "/requests/check", asked | {"endpoint": identifier})
        answers[of, place] = (response.status_code, _plain(response, identifier))
        if of == "lemur":
            words = words_of(response, json.dumps(asked))
            assert response.status_code == 200 and words == own | {"lemuroffer", "lemurslug"}
    assert answers["quokka", "offer"] == answers["quokka", "endpoint"] == answers["unknown", ""]
    assert answers["unknown", ""][0] == 422
    plan = request_body(
        project="alpacaslug", asset="common-model", version="2.0", hardware_profile="cpu-small", name="new"
    )
    for name in ("dana", "robot", "key"):
        response = _post(callers[name], "/requests/check", plan)
        words = words_of(response, json.dumps(plan))
        assert response.status_code == 200 and words == own | {"alpacaoffer", "lemuroffer", "lemurslug"}, name


def test_a_plan_names_what_was_offered_to_those_only_who_may_ask(zoo: Zoo, callers: Clients, clients: Clients) -> None:
    """Quokka's plan was offered an endpoint of alpaca: a viewer does not read of it, nobody in quokka once its owner
    takes the offer back, and who runs the platform still does. The frozen plan stays as it was.
    """
    one, offer = quokka(zoo), zoo.habitats["alpaca"].endpoints["offer"]
    made = Request.objects.get(name="quokkaoffer")
    assert [row["endpoint"] for row in made.plan["sharing"]["offers"]] == [str(offer.pk)]
    Membership.objects.create(project=one.project, user=zoo.org.vic, role=Role.VIEWER)
    paths = [(callers, f"/api/v1/requests/{made.pk}"), (callers, "/api/v1/requests?project=quokkaslug&limit=200")]
    paths += [(clients, f"/requests/{made.pk}/"), (clients, f"/requests/{made.pk}/plan/")]

    def readers() -> dict[str, int]:
        bodies = {name: [of[name].get(path) for of, path in paths] for name in ("cy", "vic", "pat")}
        assert all(answer.status_code == 200 for answers in bodies.values() for answer in answers)
        return {name: sum("alpacaoffer" in words_of(answer, "") for answer in rows) for name, rows in bodies.items()}

    assert readers() == {"cy": 4, "vic": 4, "pat": 4}  # vic is in alpaca, too
    zoo.habitats["alpaca"].project.memberships.filter(user=zoo.org.vic).delete()
    assert readers() == {"cy": 4, "vic": 0, "pat": 4}
    endpoints.set_shareable(Principal.of(zoo.org.omar), offer, False)
    assert readers() == {"cy": 0, "vic": 0, "pat": 4}


def test_similar_decisions_are_of_what_the_reader_may_see(zoo: Zoo, clients: Clients) -> None:
    """Pat sees that quokka was refused the same thing; omar, who decides too, does not."""
    path = f"/approvals/{zoo.habitats['lemur'].requests['access'].pk}/"
    assert "quokkaverdict" in clients["pat"].get(path).content.decode()
    page = clients["omar"].get(path).content.decode()
    assert "lemuraccess" in page and "quokka" not in page


def test_a_forbidden_page_names_people_of_visible_projects_only(zoo: Zoo, clients: Clients) -> None:
    """Who has the role: said of the own project, and nothing of the project that only shares an endpoint."""
    own = clients["vic"].get(f"/endpoints/{zoo.habitats['alpaca'].endpoints['endpoint'].pk}/suspend/")
    assert own.status_code == 403 and "omar" in own.content.decode()
    for verb in ("suspend", "delete", "settings"):
        for name in ("vic", "dana", "omar", "cy"):
            response, asked = _get(clients[name], f"/endpoints/{zoo.share.endpoint_id}/{verb}/")
            text = response.content.decode()
            assert response.status_code == 404 and not words_of(response, asked) and "lena" not in text


def test_what_happens_elsewhere_changes_no_number(zoo: Zoo, callers: Clients, clients: Clients) -> None:
    """Lead-time samples, failures, throughput, what could be given back, totals: a stranger's are the same before and
    after much has happened in quokka. Only the pools are everybody's.
    """
    lists = [
        line for line in API_LINES if "{" not in line.place and line.place not in {"/pools", "/audit", "/audit/export"}
    ]
    paths = [f"/api/v1{address(line, zoo)}" for line in lists]
    pages = ["/endpoints/", "/requests/", "/projects/", "/notifications/", "/insights/", "/home/endpoints/", "/usage/"]

    def seen() -> dict[str, str]:
        wanted = [(callers, name, path) for name in ("dana", "robot", "key", "bound") for path in paths]
        wanted += [(clients, name, path) for name in ("dana", "vic") for path in pages]
        answers = {f"{name} {path}": _plain(of[name].get(path), "\0") for of, name, path in wanted}
        return {key: text.partition('id="occupancy"')[0] for key, text in answers.items()}  # of the pools: everybody's

    samples = "/api/v1/insights/lead-time?kind=endpoint"
    counts = {name: callers[name].get(samples).json()["items"][0]["samples"] for name in ("dana", "pat")}
    assert counts == {"dana": 6, "pat": 18}  # five approved and one rejected in each of three projects
    with time_machine.travel(timezone.now(), tick=False):
        before = seen()
        more_quokkas(zoo)
        after = seen()
    assert {key: text for key, text in after.items() if before[key] != text} == {}
    assert callers["pat"].get(samples).json()["items"][0]["samples"] == 21


def test_the_lead_time_of_plans_is_a_number_and_no_name(zoo: Zoo, callers: Clients) -> None:
    """The estimate is of the whole platform, so that a new team has one: a few numbers, of nobody in particular."""
    plan = request_body(
        project="alpacaslug", asset="common-model", version="1.0", hardware_profile="cpu-small", name="n"
    )
    said = _post(callers["dana"], "/requests/check", plan).json()["lead_time"]
    assert set(said) == {
        "environment",
        "samples",
        "p50_seconds",
        "p90_seconds",
        "share_within_objective",
        "objective_seconds",
        "sentence",
    }


def test_filters_answer_the_same_for_hidden_and_unknown(zoo: Zoo, callers: Clients, clients: Clients) -> None:
    """By name of project, endpoint, person and key, in the API and on pages."""
    one = quokka(zoo)
    hidden = {"project": "quokkaslug", "endpoint": "quokkaendpoint", "person": "quokkaperson", "key": one.key.prefix}
    hidden |= {"q": "quokkaasset", "v": "quokkaasset@1.0"}
    unknown = {"project": "notatallslug", "endpoint": "nothingthere", "person": "nobodyperson", "key": "gth_zzzzzzzz"}
    unknown |= {"q": "notatallasset", "v": "notatallasset@1.0"}
    api_paths = [("/usage", name) for name in ("project", "endpoint", "person", "key")] + [
        (path, "project") for path in ("/requests", "/endpoints", "/webhooks", "/insights/idle", "/insights/lead-time")
    ]
    api_paths += [("/projects/alpacaslug/limits", "endpoint"), ("/projects/alpacaslug/limits", "key")]
    page_paths = [("/usage/", name) for name in ("project", "endpoint", "person", "key")] + [
        ("/requests/", "project"),
        ("/search/", "project"),
    ]
    page_paths += [("/catalog/", "q"), ("/catalog/compare/", "v"), ("/endpoints/", "project")]
    page_paths += [("/projects/alpacaslug/keys/new/", "endpoint")]
    with time_machine.travel(timezone.now(), tick=False):
        for root, wanted_paths, client in (("/api/v1", api_paths, callers["dana"]), ("", page_paths, clients["dana"])):
            for path, name in wanted_paths:
                parameter = "q" if path == "/search/" else name
                answers = [client.get(f"{root}{path}", {parameter: given[name]}) for given in (hidden, unknown)]
                texts = [_plain(answer, given[name]) for answer, given in zip(answers, (hidden, unknown), strict=True)]
                assert answers[0].status_code == answers[1].status_code and texts[0] == texts[1], (path, name)


def _about(body: dict[str, Any], endpoint: str) -> dict[str, Any]:
    return body | {"endpoint": endpoint}


def _named_in_bodies(one: Habitat) -> list[tuple[str, str, Callable[[str], Any], tuple[str, str]]]:
    """Method, path, body with a name in it, and the names: of something hidden, and of nothing."""
    slug, name, prefix = ("quokkaslug", "notatallslug"), ("quokkaendpoint", "nothing"), (one.key.prefix, "gth_zzzzzzzz")
    full, number = ("quokkaslug/quokkaendpoint", "notatall/nothing"), (str(one.requests["waiting"].pk), "987654")
    endpoint, asset = (str(one.endpoints["endpoint"].pk), str(uuid.uuid4())), ("quokkaasset", "notatallasset")
    plan = request_body(asset="common-model", version="1.0", hardware_profile="cpu-small", name="new")
    about = {"project": "alpacaslug", "purpose": "The desk goes on with it.", "ends_on": _soon()}
    quota = about | {"kind": "quota", "quota": "tokens", "window": "day", "hard": 9000}
    tokens, hook = {"target": "endpoint", "window": "day", "hard": 5}, {"name": "x", "url": "https://93.184.215.14/x"}
    keys = "/projects/alpacaslug/keys"
    found: list[tuple[str, str, Callable[[str], Any], tuple[str, str]]] = [
        ("POST", "/requests", lambda given: plan | {"project": given}, slug),
        ("POST", "/requests/check", lambda given: plan | {"project": given}, slug),
        ("POST", "/requests", lambda given: plan | {"project": "alpacaslug", "asset": given}, asset),
        ("POST", "/requests/check", lambda given: plan | {"project": "alpacaslug", "asset": given}, asset),
        ("POST", "/requests", lambda given: quota | {"target": "endpoint", "target_name": given}, name),
        ("POST", "/requests", lambda given: quota | {"target": "key", "target_name": given}, prefix),
        ("POST", keys, lambda given: {"name": "k", "endpoints": [given]}, name),
        ("POST", keys, lambda given: {"name": "k", "endpoints": [given]}, full),
        ("PUT", "/projects/alpacaslug/quotas", lambda given: {"tokens": [tokens | {"name": given}]}, name),
        ("POST", "/webhooks", lambda given: hook | {"project": given}, slug),
        ("POST", "/requests/decisions", lambda given: {"ids": [given], "decision": "reject", "reason": "No."}, number),
        ("POST", "/keys/revoke", lambda given: {"by": {"project": given}, "dry_run": True}, slug),
        ("POST", "/keys/revoke", lambda given: {"by": {"endpoint": given}, "dry_run": True}, full),
        ("POST", "/keys/revoke", lambda given: {"by": {"prefix": given}, "dry_run": True}, prefix),
    ]
    for kind in ("access", "renewal", "revision"):
        asks = partial(_about, about | {"kind": kind})
        found += [("POST", path, asks, endpoint) for path in ("/requests", "/requests/check")]
    return found


def test_bodies_answer_the_same_for_hidden_and_unknown(zoo: Zoo, callers: Clients) -> None:
    """A hidden project, endpoint, key or request named in a body is refused in the words that an unknown one gets."""
    for method, path, body, names in _named_in_bodies(quokka(zoo)):
        for person in ("dana", "omar", "robot"):
            answers = [_post(callers[person], path, body(given), method) for given in names]
            texts = [_plain(answer, given) for answer, given in zip(answers, names, strict=True)]
            assert answers[0].status_code == answers[1].status_code and texts[0] == texts[1], (path, person, texts)
            assert answers[0].status_code >= 400 or path in {"/requests/decisions", "/keys/revoke"}, (path, person)


def test_forms_answer_the_same_for_hidden_and_unknown(zoo: Zoo, clients: Clients) -> None:
    """The switcher, the form of a request that begins with another one, and the form about an endpoint."""
    one, dana = quokka(zoo), clients["dana"]
    answers = [dana.post("/projects/switch/", {"project": given}) for given in ("quokkaslug", "notatallslug")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert _plain(answers[0], "quokkaslug") == _plain(answers[1], "notatallslug")
    endpoints = (str(one.endpoints["endpoint"].pk), str(uuid.uuid4()))
    asked = {f"kind={kind}&endpoint={{}}": endpoints for kind in ("access", "renewal", "revision")}
    for query, names in (asked | {"from={}": (str(one.requests["waiting"].pk), "987654")}).items():
        answers = [dana.get(f"/requests/new/?{query.format(given)}") for given in names]
        texts = [_plain(answer, given) for answer, given in zip(answers, names, strict=True)]
        assert answers[0].status_code == answers[1].status_code and texts[0] == texts[1], query


def test_to_share_with_a_project_one_says_its_name_and_learns_no_more(zoo: Zoo, callers: Clients) -> None:
    """The one door where a name is enough: an owner shares with whom they know by short name, and reads only that."""
    path = f"/endpoints/{zoo.habitats['alpaca'].endpoints['offer'].pk}/shares"
    response = _post(callers["omar"], path, {"project": "quokkaslug"})
    assert response.status_code == 201 and words_of(response, "quokkaslug") == set()
    assert _post(callers["omar"], path, {"project": "notatallslug"}).status_code == 422
    assert _post(callers["dana"], path, {"project": "quokkaslug"}).status_code == 403


def test_cursors_and_etags_of_another_person_open_nothing(zoo: Zoo, callers: Clients) -> None:
    """A cursor is a place and no permission; a tag of a hidden object is answered like one of nothing."""
    for path in (
        "/requests",
        "/endpoints",
        "/projects",
        "/usage?group_by=project,person",
        "/insights/idle",
        "/webhooks",
    ):
        mark = "&" if "?" in path else "?"
        following = callers["pat"].get(f"/api/v1{path}{mark}limit=1").json()["next"]
        assert following, path
        response, asked = _get(callers["dana"], f"/api/v1{path}{mark}limit=200&cursor={following}")
        assert response.status_code == 200 and not leaked(words_of(response, asked), "as", "dana"), path
    one = quokka(zoo)
    for path, unknown in (
        (f"/requests/{one.requests['waiting'].pk}", "/requests/987654"),
        (f"/endpoints/{one.endpoints['endpoint'].pk}", f"/endpoints/{uuid.uuid4()}"),
        ("/projects/quokkaslug", "/projects/notatallslug"),
        ("/catalog/assets/quokkaasset", "/catalog/assets/notatallasset"),
    ):
        tag = callers["pat"].get(f"/api/v1{path}")["ETag"]
        for header in ("If-None-Match", "If-Match"):
            answers = [callers["dana"].get(f"/api/v1{where}", headers={header: tag}) for where in (path, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404] and "ETag" not in answers[0]
            patched = [
                callers["dana"].patch(f"/api/v1{where}", b"{}", content_type="application/json", headers={header: tag})
                for where in (path, unknown)
            ]
            assert patched[0].status_code == patched[1].status_code >= 400, (path, header)


def test_whoever_left_sees_nothing_any_more(zoo: Zoo, callers: Clients, clients: Clients) -> None:
    """Dana leaves alpaca: own drafts, requests and views of it are gone from pages, lists and search at once."""
    zoo.habitats["alpaca"].project.memberships.filter(user=zoo.org.dana).delete()
    for path in (
        "/",
        "/home/requests/",
        "/requests/",
        "/requests/?mine=1&format=csv",
        "/endpoints/",
        "/search/?q=mine",
    ):
        words = words_of(*_get(clients["dana"], path))
        assert words <= {"alpacaview"}, (path, words)
    for path in ("/requests", "/endpoints", "/projects", "/me"):
        assert not words_of(*_get(callers["dana"], f"/api/v1{path}")), path


def _main(response: Any) -> str:
    """The page without the frame and its help."""
    return str(response.content.decode().partition("<main")[2].partition("</main>")[0])


def _soon() -> str:
    return str(timezone.now().date().replace(year=timezone.now().year + 1, day=1))


def _post(client: Client, path: str, body: Any, method: str = "POST") -> Any:
    with transaction.atomic():
        response = client.generic(
            method, f"/api/v1{path}", json.dumps(body), content_type="application/json", headers={"If-Match": "*"}
        )
        transaction.set_rollback(True)
    return response


def _plain(response: Any, name: str) -> str:
    """The answer without the name that was asked for, without request ids, tokens and nonces."""
    body = response.getvalue() if response.streaming else response.content
    text = body.decode()
    if name.isdigit():  # only where it is an id: drawings and counts are full of numbers
        text = re.sub(rf"(R-|/|=|\"Row\">|value=\"|\"id\": ?|request ){name}\b", r"\1…", text)
    else:
        text = text.replace(name, "…").replace(name.replace("/", "%2F"), "…")
    return re.sub(
        r"\"request_id\": \"[^\"]*\"|\b[0-9a-f]{32}\b|nonce=\"[^\"]*\"|value=\"[\w-]{16,64}\"|\"X-CSRFToken\": \"\w+\"",
        "",
        text,
    )
