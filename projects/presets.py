"""Role presets: the roles that a platform organisation really has, each a named set of permissions that can be edited.

A preset of projects is held as a member's role, one of the platform as a group of the same name. What the portal ships
is written down in projects/shipped.py and created where it is missing; an edited one is left alone until somebody sets
it back.
"""

from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from projects.models import PLATFORM_GROUPS, GroupMapping, Membership, Preset, Role, Where, is_slug, slug_validator
from projects.permissions import permission, require, require_anywhere, rules
from projects.principal import Principal
from projects.shipped import SHIPPED, Shipped

# Who gives roles is decided by the platform's own groups alone: a preset that could give itself more would be a way up.
NEVER = frozenset(
    {
        *(f"projects.preset.{verb}" for verb in ("create", "change", "delete")),
        *(f"projects.groupmapping.{verb}" for verb in ("create", "change", "delete")),
        *(f"projects.user.{verb}" for verb in ("create", "change", "leave")),
        "projects.project.create",
    }
)
RESERVED = frozenset({*Role.values, *PLATFORM_GROUPS})


def known() -> dict[str, frozenset[str]]:
    """Return every permission that a preset may hold, with the roles and groups that hold it by themselves."""
    found = {
        permission(rule.model, action): holders
        for rule in rules().values()
        for action, holders in rule.actions.items()
        if "*" not in holders  # what everybody may do needs no preset
    }
    return {name: found[name] for name in sorted(found) if name not in NEVER}


def of_roles(names: Iterable[str]) -> frozenset[str]:
    """Return the permissions that roles or groups hold by themselves."""
    wanted = frozenset(names)
    return frozenset(name for name, holders in known().items() if holders & wanted)


def in_words(name: str) -> str:
    """Return a permission as people say it: "suspend an endpoint"."""
    label, _, action = name.rpartition(".")
    noun = str(apps.get_model(label)._meta.verbose_name)
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{action.replace('_', ' ')} {article} {noun}"


def create(
    by: Principal, *, slug: str, name: str, where: str, permissions: Iterable[str], description: str = ""
) -> Preset:
    """Create a preset.

    Raises Forbidden, Invalid for an unknown permission or place, and Conflict for a name that a role, group or preset
    has already.
    """
    require_anywhere(by, "create", Preset)
    if not is_slug(slug):
        raise Invalid.field("slug", f"slug is {slug[:60]!r}. {slug_validator.message}")
    if where not in Where.values:
        raise Invalid.field("where", f"where is {where[:20]!r}; choose one of {', '.join(Where.values)}.")
    fields = _fields(name, description, permissions, where)
    with transaction.atomic():
        if slug in RESERVED or Preset.objects.filter(slug=slug).exists() or Group.objects.filter(name=slug).exists():
            raise Conflict(f"{slug} is the name of a role, group or preset already. Choose another.", code="name_taken")
        made = _make(slug, where, fields)
        record("presets.create", by=by, obj=made, after=_facts(made))
    return made


def change(by: Principal, preset: Preset, *, name: str, permissions: Iterable[str], description: str = "") -> Preset:
    """Change name, description and permissions; everybody who holds it has the new set at once.

    Raises Forbidden for a preset that `by` holds: nobody gives themselves more. Raises Invalid.
    """
    require(by, "change", preset)
    _not_own(by, preset)
    return _set(by, preset, "presets.change", _fields(name, description, permissions, preset.where))


def restore(by: Principal, preset: Preset) -> Preset:
    """Set a shipped preset back to what the portal ships. Raises Forbidden, and Conflict for one of your own making."""
    require(by, "change", preset)
    _not_own(by, preset)
    shipped = SHIPPED.get(preset.slug)
    if shipped is None:
        raise Conflict(f"{preset.name} did not come with the portal, so there is nothing to set it back to.")
    return _set(by, preset, "presets.restore", _shipped_fields(shipped))


def delete(by: Principal, preset: Preset) -> None:
    """Delete a preset that nobody holds and no mapping names. Raises Forbidden, and Conflict with the count."""
    require(by, "delete", preset)
    with transaction.atomic():
        Preset.objects.select_for_update().get(pk=preset.pk)
        held, mapped = holders(preset), _mappings(preset)
        if held or mapped:
            raise Conflict(
                f"{preset.name} is held by {held} and named by {mapped} group mappings. Give them another role first.",
                code="preset_in_use",
            )
        record("presets.delete", by=by, obj=preset, before=_facts(preset))
        if preset.where == Where.PLATFORM:
            Group.objects.filter(name=preset.slug).delete()
        preset.delete()


def holders(preset: Preset) -> int:
    """Return how many people hold it."""
    if preset.where == Where.PLATFORM:
        return Group.objects.filter(name=preset.slug, user__isnull=False).count()
    rows = Membership.objects
    return rows.filter(role=preset.slug).count() + rows.filter(by_hand=preset.slug).exclude(role=preset.slug).count()


def ship(using: str) -> None:
    """Create the shipped presets that are missing; after a migration, when every app has registered its rules."""
    presets = Preset.objects.using(using)
    have = set(presets.values_list("slug", flat=True))
    taken = set(Group.objects.using(using).filter(name__in=SHIPPED).values_list("name", flat=True))
    for slug, shipped in SHIPPED.items():
        if slug in have or slug in taken:
            continue
        presets.create(slug=slug, where=shipped.where, shipped=True, **_shipped_fields(shipped))
        if shipped.where == Where.PLATFORM:
            Group.objects.using(using).get_or_create(name=slug)


def _make(slug: str, where: str, fields: dict[str, str]) -> Preset:
    try:
        with transaction.atomic():
            made: Preset = Preset.objects.create(slug=slug, where=where, **fields)
            if where == Where.PLATFORM:
                Group.objects.create(name=slug)
    except IntegrityError as error:
        raise Conflict(f"{slug} was taken a moment ago. Choose another.", code="name_taken") from error
    return made


def _set(by: Principal, preset: Preset, action: str, fields: dict[str, str]) -> Preset:
    with transaction.atomic():
        current = Preset.objects.select_for_update().get(pk=preset.pk)
        before = _facts(current)
        for field, value in fields.items():
            setattr(current, field, value)
        if before != _facts(current):
            current.save()
            record(action, by=by, obj=current, before=before, after=_facts(current))
    return current


def _fields(name: str, description: str, permissions: Iterable[str], where: str) -> dict[str, str]:
    wanted, allowed = sorted(set(permissions)), known()
    unknown = [one for one in wanted if one not in allowed]
    if unknown:
        why = "never part of a preset" if unknown[0] in NEVER else "not a permission of this portal"
        raise Invalid.field("permissions", f"permissions holds {unknown[0][:80]!r}, which is {why}.")
    if where == Where.PROJECT:
        wide = [one for one in wanted if platform_wide(one)]
        if wide:
            raise Invalid.field("permissions", f"{wide[0]} concerns the whole platform; no role of a project holds it.")
    return {
        "name": clean_text(name, field="name", low=1, high=80),
        "description": clean_text(description, field="description", high=500),
        "permissions": "\n".join(wanted),
    }


def platform_wide(name: str) -> bool:
    """Whether a permission is about objects that stand in no project."""
    rule = rules().get(apps.get_model(name.rpartition(".")[0]))
    return rule is None or rule.project is None


def _shipped_fields(shipped: Shipped) -> dict[str, str]:
    names = (of_roles(shipped.like) | frozenset(shipped.plus)) - frozenset(shipped.minus)
    if shipped.where == Where.PROJECT:
        names = frozenset(name for name in names if not platform_wide(name))
    kept = sorted(names & known().keys())
    return {"name": shipped.name, "description": shipped.description, "permissions": "\n".join(kept)}


def _not_own(by: Principal, preset: Preset) -> None:
    held = by.groups if preset.where == Where.PLATFORM else frozenset(by.roles.values())
    if preset.slug in held:
        raise Forbidden(f"You hold {preset.name} yourself. Somebody else has to change it.")


def _mappings(preset: Preset) -> int:
    if preset.where == Where.PLATFORM:
        return GroupMapping.objects.filter(into__name=preset.slug).count()
    return GroupMapping.objects.filter(role=preset.slug).count()


def _facts(preset: Preset) -> dict[str, object]:
    return {
        "slug": preset.slug,
        "name": preset.name,
        "description": preset.description,
        "where": preset.where,
        "permissions": sorted(preset.granted),
    }
