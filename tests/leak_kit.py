"""Three projects in which every text that a person can type is a marker word, and the search for such words.

A marker is the project's animal and the place where it was typed: `quokkapurpose` is the purpose of a request in the
project of the quokka. So a word in an answer says what leaked and from where.

alpaca: vic, dana and omar are viewer, developer and owner. quokka: hidden from them, cy owns it. lemur: nobody's of
the personas; it shares one endpoint with alpaca, offers another one to everybody, and asks to call one of alpaca's.
"""

import datetime as dt
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.utils import timezone

from approvals import findings
from approvals import services as approvals
from approvals.access import review as reviews
from approvals.models import AccessReview, Preview, Waiver
from approvals.policies import preview
from catalog import audience
from catalog import services as catalog
from catalog.mcp import grants
from catalog.models import Asset, AssetProjectGrant, HardwareProfile, Kind, Version
from endpoints import services as endpoints
from endpoints.models import Endpoint, Event, Phase, Share
from portal import crypto
from projects.models import ApiKey, Application, Delivery, Membership, Project, Role, SavedView, User, Webhook
from projects.notify import webhooks
from projects.notify.services import tell
from projects.oauth import applications
from projects.principal import Principal
from projects.saved_views import save_view
from quotas.grants import set_quotas
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool, Reservation
from tests.approvals.policies.kit import bundle, rule
from tests.conftest import Org
from tests.factories import engineer, lead, make_asset, make_pool, make_profile, make_request, make_version
from tests.quotas.conftest import call

ANIMALS = {"a": "alpaca", "q": "quokka", "l": "lemur"}
MARKER = re.compile(rf"(?:{'|'.join(ANIMALS.values())})[a-z]+")
HOOKS = ("webhook", "hookpath")  # an address may hold a secret in its path: for owners and engineers only
LONG_AGO = dt.timedelta(days=30)
KEY_SCOPES = ["catalog:read", "requests:read", "endpoints:read", "inference:invoke"]

# What a letter of the tables stands for beside a whole project: words, by animal.
FACES: dict[str, frozenset[str]] = {
    "s": frozenset({"lemurslug", "lemurendpoint"}),  # an endpoint that is shared with alpaca: state and address
    "t": frozenset({"lemurslug", "lemurendpoint", "lemurshare"}),  # what its builders are told of that, with the reason
    "o": frozenset({"lemurslug", "lemurendpoint", "lemuroffer", "alpacaslug", "alpacaoffer"}),  # what may be asked for
    # what the owner of alpaca reads of lemur's request to call alpacaoffer
    "r": frozenset({"lemurslug", "lemurperson", "lemuraccess", "alpacaslug", "alpacaoffer"}),
    "y": frozenset({"lemurslug", "lemuroffer"}),  # what quokka asked for, as its own request calls it
    "V": frozenset(f"{animal}view" for animal in ANIMALS.values()),  # saved views, as the audit log keeps them
}
FRAME = {  # the project switcher, on every page and in the page of every refusal
    "cy": "q", "vic": "a", "dana": "a", "omar": "a", "pat": "aql", "yasmine": "aql", "aud": "aql",
}  # fmt: skip
NEVER_TYPED = {"alpacaaccess", "alpacashare", "quokkashare"}
VIEW_OF = {"dana": "alpacaview", "cy": "quokkaview"}


@dataclass
class Habitat:
    """A project with an object of every kind, and each of its words in one place."""

    animal: str
    project: Project
    person: User  # developer; asked for everything that nobody else asked for
    owner: User
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    key: ApiKey = field(default_factory=ApiKey)
    webhook: Webhook = field(default_factory=Webhook)
    view: SavedView = field(default_factory=SavedView)
    asset: Asset = field(default_factory=Asset)  # for this project alone
    grant: AssetProjectGrant = field(default_factory=AssetProjectGrant)
    review: AccessReview = field(default_factory=AccessReview)
    application: Application = field(default_factory=Application)
    waiver: Waiver = field(default_factory=Waiver)

    def word(self, place: str) -> str:
        """The marker of a place."""
        return f"{self.animal}{place}"


@dataclass
class Zoo:
    """All three of them, and what belongs to none."""

    org: Org
    version: Version
    offered: Version  # of the same asset: what is offered runs it
    gpu: HardwareProfile
    pool: Pool
    share: Share
    habitats: dict[str, Habitat]
    keeper: User  # developer in alpaca and in quokka, whose key is bound to alpaca
    key: str
    robot: User  # a service account, developer in alpaca
    preview: Preview  # of a bundle that changes something for everything that runs or was asked for


def furnish(org: Org, journal: Path) -> Zoo:
    """Build the zoo through the services."""
    asset = make_asset("common-model")
    version, offered = (make_version(asset=asset, version=name) for name in ("1.0", "2.0"))
    doomed = make_version()
    gpu, cpu = make_profile(gpus=1, slug="gpu-small"), make_profile(slug="cpu-small")
    pool = make_pool(slug="shared", limit=3, profiles=[gpu])
    lena = User.objects.create_user(username="lena")
    owners = {"alpaca": org.omar, "quokka": org.cy, "lemur": lena}
    habitats = {animal: _habitat(animal, owner) for animal, owner in owners.items()}
    for user, role in ((org.vic, Role.VIEWER), (org.dana, Role.DEVELOPER)):
        Membership.objects.create(project=habitats["alpaca"].project, user=user, role=role)
    for one in habitats.values():  # first what holds the accelerators, in the next round what waits for them
        one.endpoints["endpoint"] = _running(one, "endpoint", version, gpu)
    for one in habitats.values():
        _exception(one, version, cpu)
        _endpoints(one, {"version": version, "offered": offered, "doomed": doomed, "gpu": gpu, "cpu": cpu})
        _requests(one, version, cpu)
        _belongings(one, journal / one.animal)
    _mine(habitats, {"alpaca": org.dana, "quokka": org.cy, "lemur": habitats["lemur"].person}, version, cpu)
    catalog.block(lead(), doomed, reason="a finding")
    share = _between(habitats)
    keeper, robot = User.objects.create_user(username="keeper"), User.objects.create_user("robot", is_service=True)
    for user, animal in ((keeper, "alpaca"), (keeper, "quokka"), (robot, "alpaca")):
        Membership.objects.create(project=habitats[animal].project, user=user, role=Role.DEVELOPER)
    server = make_version(asset=make_asset("common-server", kind=Kind.MCP_SERVER))
    for one in habitats.values():
        grants.grant(engineer(), server, one.project, tools=[one.word("tool")], ends_on=None)
        _own_asset(one)
        today = timezone.now().date()
        one.review = reviews.start(lead(), name=one.word("campaign"), due_on=today, project=one.project)
    _, secret = endpoints.issue_key(Principal.of(keeper), habitats["alpaca"].project, "bound", [], KEY_SCOPES, 90)
    findings.sweep()
    looked = preview.ask(Principal.of(org.yasmine), bundle(rule(days=1)))
    preview.run_due()
    looked.refresh_from_db()
    return Zoo(org, version, offered, gpu, pool, share, habitats, keeper, secret, robot, looked)


def _habitat(animal: str, owner: User) -> Habitat:
    project = Project.objects.create(
        slug=f"{animal}slug", name=f"{animal}name", description=f"{animal}description",
        cost_centre=f"{animal}costcentre", owner_team=f"{animal}team",
    )  # fmt: skip
    person = User.objects.create_user(username=f"{animal}person", first_name=f"{animal}fullname")
    for user, role in ((owner, Role.OWNER), (person, Role.DEVELOPER)):
        Membership.objects.create(project=project, user=user, role=role)
    return Habitat(animal, project, person, owner)


def _running(one: Habitat, place: str, version: Version, profile: HardwareProfile) -> Endpoint:
    """An endpoint that answers calls, as the reconciler leaves it."""
    purpose = f"{one.word('purpose')} and some more words"
    made = make_request(
        one.person, project=one.project.slug, version=version, profile=profile, name=one.word(place), purpose=purpose
    )
    approvals.approve(engineer(), made, reason=f"{one.word('reason')} it is")
    made.refresh_from_db()
    if place == "endpoint":
        one.requests["approved"] = made
    routes = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("engine"), "instance": "0-1-2"}]
    rows = Endpoint.objects.filter(pk=made.endpoint_id)
    rows.update(
        phase=Phase.READY, upstreams=routes, reason_code="ready", reason_sentence="Answers calls.", contact=one.person,
        ready_at=timezone.now() - LONG_AGO,
    )  # fmt: skip
    Reservation.objects.filter(holder_id=str(made.endpoint_id)).update(
        held_at=timezone.now() - LONG_AGO, price_per_hour=Decimal("1.5"), currency="EUR"
    )
    return rows.get()


def _endpoints(one: Habitat, on: dict[str, Any]) -> None:
    """What waits for room, what failed and ends soon, what is offered, what is blocked."""
    waits = make_request(
        one.person, project=one.project.slug, state="approved", version=on["version"], profile=on["gpu"],
        name=one.word("queued"),
    )  # fmt: skip
    one.endpoints["queued"] = waits.endpoint
    failed = one.endpoints["failed"] = _running(one, "failed", on["version"], on["cpu"])
    soon = timezone.now().date() + dt.timedelta(days=5)
    Endpoint.objects.filter(pk=failed.pk).update(phase=Phase.FAILED, ends_on=soon, upstreams=[])
    Event.objects.create(endpoint=failed, code="crashed", phase=Phase.FAILED, sentence=one.word("event"))
    one.endpoints["offer"] = _running(one, "offer", on["offered"], on["cpu"])
    if one.animal != "quokka":
        endpoints.set_shareable(Principal.of(one.owner), one.endpoints["offer"], True)
    one.endpoints["blocked"] = _running(one, "blocked", on["doomed"], on["cpu"])


def _requests(one: Habitat, version: Version, cpu: HardwareProfile) -> None:
    common: dict[str, Any] = {"project": one.project.slug, "version": version, "profile": cpu}
    for state, place in (("submitted", "waiting"), ("submitted", "rejected"), ("draft", "draft")):
        purpose = f"{one.word('purpose')} and some more words"
        one.requests[place] = make_request(one.person, state=state, name=one.word(place), purpose=purpose, **common)
    approvals.reject(engineer(), one.requests["rejected"], reason=one.word("rejection"))
    approvals.comment(Principal.of(one.person), one.requests["waiting"], one.word("comment"))


def _exception(one: Habitat, version: Version, cpu: HardwareProfile) -> None:
    """A draft that fails a rule, and the waiver of that rule."""
    draft = make_request(
        one.person, state="draft", project=one.project.slug, version=version, profile=cpu, name=one.word("exempt"),
        data_classification="restricted",
    )  # fmt: skip
    body = {
        "kind": "waiver", "request": draft.pk, "check": "data-101", "owner": one.owner.username,
        "purpose": f"{one.word('need')} and some more words", "compensating_control": one.word("control"),
        "ends_on": (timezone.now().date() + dt.timedelta(days=9)).isoformat(),
    }  # fmt: skip
    asked = approvals.send(Principal.of(one.person), body)
    approvals.approve(lead(), asked)
    one.waiver = Waiver.objects.get(asked=asked)


def _mine(habitats: dict[str, Habitat], people: dict[str, User], version: Version, cpu: HardwareProfile) -> None:
    """A request and a saved view of one person each: of dana, cy and lemurperson."""
    for animal, user in people.items():
        one = habitats[animal]
        common: dict[str, Any] = {"project": one.project.slug, "version": version, "profile": cpu}
        one.requests["mine"] = make_request(user, state="draft", name=one.word("mine"), **common)
        for address in ("/requests/?mine=1", "/endpoints/?phase=failed", "/projects/?role=owner", "/catalog/?q=model"):
            one.view = save_view(Principal.of(user), name=one.word("view"), address=address)


def _belongings(one: Habitat, journal: Path) -> None:
    """Keys, webhooks with a delivery, notifications, quotas and calls."""
    by, owner, project = Principal.of(one.person), Principal.of(one.owner), one.project
    one.key, _ = endpoints.issue_key(by, project, one.word("key"), [one.word("endpoint")], None, 5)
    address = f"https://93.184.215.14/{one.word('hookpath')}"
    one.webhook, _ = webhooks.create(owner, project=project, name=one.word("webhook"), url=address)
    one.application, _ = applications.create(
        owner, project=project, name=one.word("application"), description=one.word("about"),
        grants=["client_credentials"], scopes=["catalog:read"],
    )  # fmt: skip
    members = [row.user for row in Membership.objects.filter(project=project).select_related("user")]
    tell("endpoint.ready", members, title=one.word("title"), text=one.word("text"), project=project)
    assert Delivery.objects.filter(webhook=one.webhook).exists()
    named = {"target": "endpoint", "name": one.word("endpoint"), "window": "day", "hard": 5000}
    tokens = [{"target": "project", "window": "month", "hard": 9000}, named]
    names = {row.name: str(row.pk) for row in one.endpoints.values()}
    set_quotas(engineer(), project, {"gpus": {"limit": 50}, "tokens": tokens}, endpoints=names)
    failed = one.endpoints["failed"]
    start = {
        "project_id": project.pk, "endpoint_id": str(failed.pk), "endpoint": failed.name, "key_id": str(one.key.pk),
        "key": one.key.prefix, "person": one.person.username, "at": timezone.now() - dt.timedelta(hours=2),
    }  # fmt: skip
    with Journal(journal) as book:
        call(book, start=start)
    ingest(journal)


def _own_asset(one: Habitat) -> None:
    """An approved model that only this project may see and ask for."""
    words = {name: one.word(name) for name in ("publisher", "summary")}
    one.asset = make_asset(one.word("asset"), name=one.word("asset"), **words)
    made = make_version(asset=one.asset)
    made.evidence.filter(kind="card").update(expires_at=timezone.now())  # so that it needs a look
    audience.list_only(lead(), one.asset, "A licence for one team.")
    one.grant = audience.grant_project(lead(), one.asset, one.project.slug, reason=one.word("granted"))


def _between(habitats: dict[str, Habitat]) -> Share:
    """What one project has to do with another: a share, an offer, a request to call, and a decision on another one."""
    lemur, alpaca, quokka = habitats["lemur"], habitats["alpaca"], habitats["quokka"]
    shared = endpoints.set_shareable(Principal.of(lemur.owner), lemur.endpoints["endpoint"], True)
    share = endpoints.share(Principal.of(lemur.owner), shared, alpaca.project, ends_on=None, reason=lemur.word("share"))
    for asks, of in ((lemur, alpaca), (quokka, lemur)):
        asks.requests["access"] = make_request(
            asks.person, kind="access", endpoint=of.endpoints["offer"], project=asks.project.slug,
            purpose=f"{asks.word('access')} and some more words",
        )  # fmt: skip
    approvals.reject(engineer(), quokka.requests["access"], reason=quokka.word("verdict"))
    return share


def more_quokkas(zoo: Zoo) -> None:
    """Let much happen in quokka: nobody outside may notice."""
    one = zoo.habitats["quokka"]
    for number in range(3):
        made = _running(one, f"more-{number}", zoo.version, zoo.gpu)
        Endpoint.objects.filter(pk=made.pk).update(phase=Phase.FAILED)
        Event.objects.create(endpoint=made, code="crashed", phase=Phase.FAILED, sentence="more")
        name = one.word(f"wait-{number}")
        make_request(one.person, project=one.project.slug, version=zoo.version, profile=zoo.gpu, name=name)


def leaked(words: set[str], cell: str, persona: str) -> set[str]:
    """The words of an answer that the cell of a table does not allow."""
    if cell == "*":
        return set()
    found: set[str] = set()
    for letter in set(cell) - set("-.?"):
        if letter in FACES:
            found |= FACES[letter]
        elif letter == "v":
            found.add(VIEW_OF[persona])
        else:
            secret = ("view",) if letter.isupper() else ("view", *HOOKS)
            found |= {word for word in words if word.startswith(ANIMALS[letter.lower()]) and not word.endswith(secret)}
    return words - found


def frame_of(persona: str) -> set[str]:
    """The words that stand on every page of somebody who is signed in."""
    return {f"{ANIMALS[letter]}slug" for letter in FRAME.get(persona, "")}


def wanted(shows: str, cell: str, persona: str, of: str = "") -> set[str]:
    """The words that the cell promises: those of `shows` that stand in what its letters are about; `of`: of one animal
    only.
    """
    found: set[str] = set()
    for place in shows.split() if not cell.endswith("?") else ():
        for letter in cell:
            if letter in FACES and letter != "y":
                found |= {word for word in FACES[letter] if word.endswith(place)}
            elif letter == "v" and place == "view":
                found.add(VIEW_OF[persona])
            elif letter.lower() in ANIMALS and (letter.isupper() or place not in HOOKS) and place != "view":
                found.add(f"{ANIMALS[letter.lower()]}{place}")
    return {word for word in found - NEVER_TYPED if word.startswith(of)}


def words_of(response: Any, asked: str) -> set[str]:
    """The markers of an answer, body and headers, without those that the question held itself."""
    body = response.getvalue() if response.streaming else response.content
    text = body.decode() + " ".join(f"{name}: {value}" for name, value in response.items())
    text += " ".join(cookie.output() for cookie in response.cookies.values())
    return set(MARKER.findall(text.lower())) - set(MARKER.findall(asked.lower()))
