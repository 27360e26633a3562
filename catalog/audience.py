"""Whom an asset is for: everyone, or only those who are listed; grants to projects, groups and single people.

Each verb: guard, change, audit row, listings and word to the holder in one transaction. A grant stops counting at the
moment it ends (catalog/models/grants.py: living); `expire` only tidies up. The gateway knows no assets and hears of
nothing: what runs goes on, and what is asked for anew is checked again.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from audit.services import Actor, record, system
from catalog.holders import HOLDERS, Grant, called, kind_of, last_day
from catalog.listings import refresh
from catalog.models import USE, Access, Asset, AssetGroupGrant, AssetProjectGrant, AssetUserGrant, living
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.models import Project
from projects.notify.services import tell
from projects.permissions import require
from projects.principal import Principal

MAX_REASON, MOST_NAME = 300, 150
PERSON_DAYS = 365  # an exception for one person is looked at again after a year at the latest
MOST_DAYS = 3650
BATCH = 500


# --- Everyone, or those who are listed --------------------------------------------------------------------------------


def open_to_everyone(by: Principal, asset: Asset, reason: str = "") -> Asset:
    """Let everyone signed in see and ask for `asset`. Its grants stay, and count again when it is listed again.

    Raises NotFound, Forbidden, Invalid, and Conflict `already_so`.
    """
    return _turn(by, asset, Access.EVERYONE, clean_text(reason, field="reason", high=MAX_REASON))


def list_only(by: Principal, asset: Asset, reason: str) -> Asset:
    """Keep `asset` for those whom a grant names; `reason` has 3 to 300 characters. What runs goes on.

    Raises NotFound, Forbidden, Invalid, and Conflict `already_so`.
    """
    return _turn(by, asset, Access.LISTED, clean_text(reason, field="reason", low=3, high=MAX_REASON))


def _turn(by: Principal, asset: Asset, access: Access, reason: str) -> Asset:
    require(by, "open", asset)
    verb = {Access.EVERYONE: "open_to_everyone", Access.LISTED: "list_only"}[access]
    with transaction.atomic():
        current = _locked(asset)
        if current.access == access:
            raise Conflict(f"{current.slug} is for {access.label} already.", code="already_so")
        before, current.access = current.access, access
        current.save(update_fields=["access"])
        after = {"asset": current.slug, "access": str(access)}
        record(f"catalog.{verb}", by=by, obj=current, before={"access": before}, after=after, reason=reason)
        refresh(current)
    asset.access = access
    return current


def _locked(asset: Asset) -> Asset:
    return Asset.objects.select_for_update().get(pk=asset.pk)


# --- Grants -----------------------------------------------------------------------------------------------------------


def grant_project(
    by: Principal, asset: Asset, project: str, *, reason: str, ends_on: dt.date | None = None
) -> AssetProjectGrant:
    """Let the members of a project see `asset`, and ask for it in that project, until `ends_on` (last day, UTC).

    `reason` has 3 to 300 characters. Raises NotFound, Forbidden, Invalid naming the field, Conflict `already_granted`.
    """
    made: AssetProjectGrant = _grant(by, asset, "project", project, reason, ends_on)
    return made


def grant_group(
    by: Principal, asset: Asset, group: str, *, reason: str, ends_on: dt.date | None = None
) -> AssetGroupGrant:
    """Let the people of a group see `asset` and ask for it in their projects; otherwise as `grant_project`."""
    made: AssetGroupGrant = _grant(by, asset, "group", group, reason, ends_on)
    return made


def grant_person(
    by: Principal, asset: Asset, person: str, *, reason: str, ends_on: dt.date | None
) -> AssetUserGrant:  # fmt: skip
    """Let one person see `asset` and ask for it in their projects, as an exception: at most 365 days. Otherwise as
    `grant_project`.
    """
    made: AssetUserGrant = _grant(by, asset, "person", person, reason, ends_on)
    return made


GRANTS: Mapping[str, Callable[..., Any]] = {"project": grant_project, "group": grant_group, "person": grant_person}


def _grant(by: Principal, asset: Asset, kind: str, name: str, reason: str, ends_on: dt.date | None) -> Any:
    require(by, "grant", asset)
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON)
    ends_at = _end(kind, ends_on)
    holder = _find(kind, name)
    with transaction.atomic():
        current = _locked(asset)
        _make_room(current, kind, holder)
        made = _write(current, kind, holder, reason=text, ends_at=ends_at, granted_by=by.user)
        record(
            f"catalog.grant_{kind}", by=by, obj=current, project=_project_of(holder), reason=text,
            after={"asset": current.slug, kind: called(holder), "ends_on": ends_on},
        )  # fmt: skip
        until = f" until {ends_on}" if ends_on else ""
        _tell(made, "asset.granted", f"{_subject(holder)} may use {current.name} from the catalog{until}.", text)
    return made


def _end(kind: str, ends_on: dt.date | None) -> dt.datetime | None:
    """Return the moment after the last day; raises Invalid for one that is missing, has passed, or lies too far."""
    today, most = timezone.now().date(), PERSON_DAYS if kind == "person" else MOST_DAYS
    if ends_on is None:
        if kind == "person":
            raise Invalid.field("ends_on", f"ends_on is missing. A person's grant ends after at most {most} days.")
        return None
    if ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose a day from {today} on.")
    if ends_on > today + dt.timedelta(days=most):
        raise Invalid.field(
            "ends_on", f"ends_on is {ends_on}; the limit is {most:,} days from today. Choose an earlier day."
        )
    return dt.datetime.combine(ends_on + dt.timedelta(days=1), dt.time.min, dt.UTC)


def _find(kind: str, name: str) -> Any:
    cleaned = clean_text(name, field=kind, low=1, high=MOST_NAME)
    holder = HOLDERS[kind].find(cleaned)
    if holder is None:
        raise Invalid.field(kind, f"{kind} is {cleaned[:60]!r}; there is no such {kind}. {HOLDERS[kind].fix}")
    return holder


def _make_room(asset: Asset, kind: str, holder: Any) -> None:
    """Take away a grant that has ended and was not swept yet; raises Conflict for one that holds."""
    rows = HOLDERS[kind].model.objects.filter(content_object=asset, **{HOLDERS[kind].column: holder})
    present = living(rows).first()
    if present is not None:
        raise _already(asset, holder, last_day(present))
    for ended in rows:
        _end_one(ended, system("catalog"))


def _already(asset: Asset, holder: Any, until: dt.date | None) -> Conflict:
    words = f" until {until}" if until else ""
    return Conflict(
        f"{called(holder)} has been granted {asset.slug}{words} already. Take that grant away first, or keep it.",
        code="already_granted",
    )


def _write(asset: Asset, kind: str, holder: Any, **facts: Any) -> Any:
    entry = HOLDERS[kind]
    if entry.model is not AssetProjectGrant:  # guardian's tables name the permission
        facts["permission"] = Permission.objects.get(codename=USE, content_type__app_label="catalog")
    try:
        with transaction.atomic():
            return entry.model.objects.create(content_object=asset, **{entry.column: holder}, **facts)
    except IntegrityError as error:  # somebody else was faster by an instant
        raise _already(asset, holder, None) from error


def revoke(by: Principal, grant: Grant) -> None:
    """Take a grant away at once; what runs goes on. Raises NotFound, Forbidden, and Conflict `already_so`."""
    require(by, "grant", grant.content_object)
    kind, holder = kind_of(grant), HOLDERS[kind_of(grant)].of(grant)
    with transaction.atomic():
        asset = _locked(grant.content_object)
        if not type(grant).objects.filter(pk=grant.pk).delete()[0]:
            raise Conflict(f"{called(holder)} has no such grant any more.", code="already_so")
        before = {"asset": asset.slug, kind: called(holder), "ends_on": last_day(grant), "reason": grant.reason}
        record("catalog.revoke", by=by, obj=asset, project=_project_of(holder), before=before)
        _tell(grant, "asset.ended", f"{_subject(holder)} may no longer ask for {asset.name} from the catalog.")


# --- The end of grants ------------------------------------------------------------------------------------------------


def expire() -> int:
    """Delete the grants whose end has passed and return how many; in batches, so that no transaction is long.

    May run twice, or at the same time as itself: who deletes the row writes the audit row.
    """
    now, count = timezone.now(), 0
    for holder in HOLDERS.values():
        rows = holder.model.objects.filter(ends_at__lte=now).select_related("content_object", holder.column)
        while batch := list(rows.order_by("pk")[:BATCH]):
            with transaction.atomic():
                count += sum(_end_one(grant, system("catalog")) for grant in batch)
    return count


def _end_one(grant: Grant, by: Actor) -> bool:
    """Delete a grant that has ended, with audit row and word to its holder; False when somebody else did."""
    if not type(grant).objects.filter(pk=grant.pk, ends_at=grant.ends_at).delete()[0]:
        return False
    asset, kind, holder = grant.content_object, kind_of(grant), HOLDERS[kind_of(grant)].of(grant)
    before = {"asset": asset.slug, kind: called(holder), "ends_on": last_day(grant), "reason": grant.reason}
    reason = f"The last day was {last_day(grant)}."
    record("catalog.expire", by=by, obj=asset, project=_project_of(holder), before=before, reason=reason)
    _tell(grant, "asset.ended", f"{_subject(holder)} could use {asset.name} from the catalog until {last_day(grant)}.")
    return True


def _project_of(holder: Any) -> str:
    return holder.slug if isinstance(holder, Project) else ""


def _subject(holder: Any) -> str:
    return f"The group {holder}" if isinstance(holder, Group) else called(holder)


def _tell(grant: Grant, what: str, title: str, text: str = "") -> None:
    """Tell the people of the holder; after the end of an asset's only grant its page is closed to them."""
    asset, kind = grant.content_object, kind_of(grant)
    holder = HOLDERS[kind].of(grant)
    open_now = what == "asset.granted" or asset.access == Access.EVERYONE
    tell(
        what, HOLDERS[kind].people(holder), title=title, text=text,
        url=reverse("catalog_detail", args=[asset.slug]) if open_now else "",
        project=holder if isinstance(holder, Project) else None, about=("asset", asset.slug),
        data={"asset": asset.slug, "holder": kind, "ends_on": last_day(grant)},
    )  # fmt: skip
