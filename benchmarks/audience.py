"""Which assets a person sees: 10,000 assets, most of them not for everyone, 500 projects, 100,000 grants."""

import gc
from collections.abc import Callable
from functools import partial

from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from benchmarks.paired import milliseconds, paired, percentile
from benchmarks.results import Result
from benchmarks.seed_pages import NEEDS, many
from benchmarks.stores import scaled
from catalog import facets, listings, search
from catalog.models import (
    USE,
    Access,
    Asset,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    Listing,
    Version,
    VersionState,
)
from projects.models import Membership, Project, User
from projects.permissions import can
from projects.principal import Principal

ASSETS, PROJECTS, GRANTS = 10_000, 500, 100_000
MINE = (5, 50)  # projects of the two people who look
ROUNDS, SIZE, TARGET_MS = 60, 50, 5.0
TARGET = f"reference: the target, {TARGET_MS:.0f} ms; measured: median of {ROUNDS} readings, database and rows"
NAIVE = (
    f"reference: assets in the order of the list, each asked for permission until {SIZE} are found; measured: the same"
)


def measure(store: str) -> list[Result]:
    """Time the first page of assets, their number, and the catalog's list; then the page against asking one by one."""
    people = _seed()
    gc.collect()
    gc.freeze()
    results = []
    for count, person in zip(MINE, people, strict=True):
        principal = Principal.of(person)
        for what, read in _readings(principal).items():
            read()
            times = [milliseconds(read) for _ in range(ROUNDS)]
            name = f"{what}, {count} projects, {store}"
            results.append(Result(name, "ms", TARGET_MS, percentile(times, 0.5), note=TARGET))
    principal = Principal.of(people[0])
    if _one_by_one(principal) != _ids(_page(principal)):
        raise SystemExit(f"{store}: the list and the single questions differ")
    reference, measured = paired(partial(_one_by_one, principal), lambda: _ids(_page(principal)), rounds=3)
    return [*results, Result(f"first page against single questions, {store}", "ms", reference, measured, note=NAIVE)]


def _page(principal: Principal) -> QuerySet[Asset]:
    return Asset.objects.visible_to(principal).order_by("name", "id")[:SIZE]


def _ids(rows: QuerySet[Asset]) -> list[int]:
    return [row.pk for row in rows]


def _readings(principal: Principal) -> dict[str, Callable[[], object]]:
    """What a request for the list does, part by part."""
    stamp = facets.stamp(principal)
    shown = Listing.objects.visible_to(principal, proposed=False)
    ordered = search.ordered(shown, "name").values("pk")[: search.PAGE_SIZE]
    return {
        "first page of assets": lambda: list(_page(principal)),
        "first page of the catalog": lambda: list(ordered.all()),
        "a search in the catalog": lambda: list(
            search.searched(shown, search.Filters(q="model 77"))[: search.PAGE_SIZE]
        ),
        "stamp of the facets": lambda: facets.stamp(principal),
        "facets": lambda: facets.count(principal, search.Filters(), [], stamp),
    }


def _one_by_one(principal: Principal) -> list[int]:
    """What a first version would do."""
    found: list[int] = []
    for asset in Asset.objects.order_by("name", "id").iterator():
        if can(principal, "view", asset):
            found.append(asset.pk)
        if len(found) == SIZE:
            break
    return found


def _seed() -> list[User]:
    """Fill the database and return two people: each grant of the projects is another asset's."""
    with transaction.atomic():
        projects = many(Project(slug=f"team-{n}", name=f"Team {n}") for n in range(scaled(PROJECTS)))
        assets = _catalog()
        listed = [asset for asset in assets if asset.access == Access.LISTED] or assets
        each = max(1, scaled(GRANTS) // len(projects))
        many(
            AssetProjectGrant(content_object=listed[(number * 37 + step * 41) % len(listed)], project=project)
            for number, project in enumerate(projects)
            for step in range(min(each, len(listed)))
        )
        people = many(User(username=f"person{count}", password="!") for count in MINE)
        use, group = Permission.objects.get(codename=USE), Group.objects.create(name="analysts")
        for person, count in zip(people, MINE, strict=True):
            mine = projects[: min(count, len(projects))]
            many(Membership(project=project, user=person, role="developer") for project in mine)
            person.groups.add(group)
            many(AssetUserGrant(content_object=asset, user=person, permission=use) for asset in listed[:10])
        many(AssetGroupGrant(content_object=asset, group=group, permission=use) for asset in listed[10:30])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return people


def _catalog() -> list[Asset]:
    """A tenth for everyone, the others for those who are listed."""
    now = timezone.now()
    assets: list[Asset] = many(
        Asset(slug=f"model-{n}", kind="model", name=f"Model {n}", publisher=f"Lab {n % 40}", tasks=["chat"],
              summary="For the benchmark.", access=Access.LISTED if n % 10 else Access.EVERYONE)
        for n in range(scaled(ASSETS))
    )  # fmt: skip
    many(
        Version(asset=asset, version="1.0", state=VersionState.APPROVED, approved_at=now, source=f"hf://lab/{asset.slug}@1",
                licence="MIT", runtime={"engine": "vllm"}, needs=NEEDS)
        for asset in assets
    )  # fmt: skip
    read = Version.objects.select_related("asset").prefetch_related("evidence").order_by("pk")
    many(
        Listing(**row)
        for version in read.iterator(chunk_size=2_000)
        for row in listings.rows_of(version.asset, [version])
    )
    return assets
