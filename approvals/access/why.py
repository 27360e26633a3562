"""Why not: the one thing that is missing, the smallest remedy, and who can give it."""

from dataclasses import dataclass, replace

from django.db.models import Q

from approvals.access import facts as read
from approvals.access.explain import Explorer
from approvals.access.facts import AssetFacts, Grant
from approvals.access.judge import Target
from approvals.access.ways import Holder, Way, ways
from approvals.access.words import ASSET, INVOKE, MANAGE, MEANINGS, PROJECT, REQUEST, SEE, WORDS
from catalog.models import Asset, Evidence, Version
from portal.errors import Invalid
from portal.templatetags.gatehouse import day
from projects.models import PLATFORM_ENGINEERS, PLATFORM_GROUPS, Preset, Project, Role, User, Where
from projects.permissions import EVERYONE, MEMBERS, PLATFORM, SHORT_LIVED, Rule, allows, permission, rules

MOST_NAMES = 5
LEAST_FIRST = (Role.VIEWER.value, Role.DEVELOPER.value, Role.OWNER.value)
CATALOG = (Asset, Version, Evidence)


@dataclass(frozen=True)
class Why:
    """Whether it is allowed, one sentence why or why not, what would change it, which roles would do and who can give
    them.
    """

    who: str
    kind: str
    action: str
    on: Target | None
    sentence: str
    remedy: str = ""
    roles: tuple[str, ...] = ()
    givers: tuple[str, ...] = ()
    through: tuple[Way, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it is allowed."""
        return bool(self.through)

    def json(self) -> dict[str, object]:
        """Return it as the API shows it."""
        return {
            "who": self.who,
            "kind": self.kind,
            "action": self.action,
            "on": {"kind": self.on.kind, "name": self.on.name} if self.on else None,
            "allowed": self.allowed,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "roles": list(self.roles),
            "givers": list(self.givers),
            "through": [way.json() for way in self.through],
        }


def why(explorer: Explorer, action: str) -> Why:
    """Answer for the one person or key of the question. `action`: one of the five words, or a permission as
    "endpoints.endpoint.suspend". Raises Invalid naming what is missing or unknown.
    """
    asked = explorer.asked
    if asked.user is None and asked.key is None:
        raise Invalid.field("user", "why needs a person or a key to explain. Give user or key.")
    if not explorer.holders:
        raise Invalid.field("user", "There is nobody to explain.")
    holder = explorer.holders[0]
    if action in WORDS:
        if sum(not one.only for one in explorer.targets) != 1 or (
            asked.asset is None and asked.project is None and asked.key is None
        ):
            raise Invalid.field("project", "why needs one object. Give project or asset.")
        return _word(explorer, holder, action, explorer.targets[0])
    found = _rule(action)
    if asked.key is not None:
        raise Invalid.field(
            "why", f"why takes one of {', '.join(WORDS)} for a key, whose scopes are not single permissions."
        )
    return _permission(explorer, holder, *found)


def choices() -> list[tuple[str, str]]:
    """Return every permission that can be asked about, as (name, words)."""
    found = []
    for model, rule in rules().items():
        for verb in rule.actions:
            name = f"{verb.replace('_', ' ')} {model._meta.verbose_name}"
            found.append((permission(model, verb), name))
    return sorted(found)


def _rule(text: str) -> tuple[Rule, str]:
    for model, rule in rules().items():
        for action in rule.actions:
            if permission(model, action) == text:
                return rule, action
    raise Invalid.field(
        "why",
        f"why is {text[:60]!r}; write one of {', '.join(WORDS)}, or a permission such as endpoints.endpoint.suspend.",
    )


# --- The five words ---------------------------------------------------------------------------------------------------


def _word(explorer: Explorer, holder: Holder, word: str, target: Target) -> Why:
    row = next(row for row in explorer.rows(word=word) if row.who == holder.name and row.on == target)
    meaning = MEANINGS[target.kind, word]
    asked = Why(holder.name, holder.kind, word, target, "", through=row.through)
    if row.through:
        return _allowed(asked, meaning.sentence)
    found = _ended(asked, holder) or _credential(asked, holder, word, target)
    if found is None and target.kind == ASSET:
        found = _asset(explorer, asked, holder, word)
    if found is not None:
        return found
    model, action = meaning.asks[0]
    project = _project_of(explorer)
    if target.kind == ASSET and word in {SEE, MANAGE}:
        project = None
    return _roles(explorer, asked, holder, rules()[model], action, project, meaning.sentence)


def _allowed(asked: Why, meaning: str) -> Why:
    words = "; ".join(dict.fromkeys(way.sentence for way in asked.through))
    return replace(asked, sentence=f"{asked.who} may {meaning}: {words}.")


def _ended(asked: Why, holder: Holder) -> Why | None:
    """What ends everything: a person who left, a key or application that is refused."""
    person = holder.person
    if not person.is_active:
        since = f" since {day(person.left_at)}" if person.left_at else ""
        return replace(
            asked,
            sentence=f"{person.username} is inactive{since}; who is inactive may do nothing.",
            remedy="A platform engineer can make the person active again.",
        )
    refused = holder.ended or next((record.ended for record in holder.calls if holder.bound and record.ended), "")
    if refused:
        return replace(asked, sentence=refused, remedy="Make a new one in the project.")
    return None


def _credential(asked: Why, holder: Holder, word: str, target: Target) -> Why | None:
    """What a key or application lacks by itself: the scope, the project."""
    scope = target.scope(word)
    if not holder.bound:
        return None
    if scope and scope not in (holder.principal.scopes or ()):
        remedy = f"Make a {holder.kind} with the scope {scope}."
        if scope in SHORT_LIVED:
            remedy = f"No {holder.kind} carries it: take an access token of at most an hour with the scope {scope}."
        return replace(asked, sentence=f"The {holder.kind} {holder.name} lacks the scope {scope}.", remedy=remedy)
    bound = holder.principal.project_id
    if target.kind == PROJECT and bound not in (None, target.pk):
        where = holder.members[bound].project if bound in holder.members else "another project"
        return replace(
            asked,
            sentence=f"The {holder.kind} {holder.name} is bound to {where} and opens nothing in {target.name}.",
            remedy=f"Make one in {target.name}, or let an owner of {target.name} share an endpoint with {where}.",
        )
    if word == INVOKE and not target.server and holder.calls and holder.calls[0].targets is not None:
        return replace(
            asked,
            sentence=f"The key {holder.name} is bound to endpoints that are not among those of {target.name}.",
            remedy="Make a key for the endpoint, or one for the whole project.",
        )
    return None


def _asset(explorer: Explorer, asked: Why, holder: Holder, word: str) -> Why | None:
    """What an asset itself refuses: nothing to ask for, nothing that runs it, not for this person."""
    target = asked.on
    if target is None or target.asset is None:
        return None
    asset, steward = target.asset, "A governance lead or platform engineer"
    if word == REQUEST and not asset.askable:
        return replace(asked, sentence=f"{asset.slug} has no approved version.", remedy=f"{steward} can approve one.",
                       givers=_stewards())  # fmt: skip
    if word == INVOKE and target.server:
        return _granted_elsewhere(explorer, asked, asset)
    if word == INVOKE and not explorer.judge.endpoints(target):
        return replace(asked, sentence=f"No endpoint runs {asset.slug}.", remedy="Ask for one in a project.")
    if word == INVOKE:
        return _runs_elsewhere(explorer, asked, asset)
    if word in {SEE, MANAGE, REQUEST} and not explorer.judge.reach(holder, asset, version=word == REQUEST):
        if not asset.listed:
            return replace(asked, sentence=f"No version of {asset.slug} was approved yet, so only reviewers see it.",
                           remedy=f"{steward} can approve one.", givers=_stewards())  # fmt: skip
        return _not_listed(asked, holder, asset.pk, asset.slug)
    if word == REQUEST and asset.listed and _asks_somewhere(explorer, holder):
        return _not_listed(asked, holder, asset.pk, asset.slug)
    return None


def _granted_elsewhere(explorer: Explorer, asked: Why, asset: AssetFacts) -> Why:
    """An MCP server that no project of the holder may use. Projects are named to who may see them."""
    given = explorer.judge.facts.servers.get(asset.pk, ())
    named = sorted({one.project for one in given if explorer.who.shows(one.project_id, of_self=False)})
    where = f" ({', '.join(named[:MOST_NAMES])})" if named else ""
    return replace(
        asked,
        sentence=f"{asked.who} is a member of no project that may use {asset.slug}{where}.",
        remedy="Ask for the use of the server in a project of one's own.",
    )


def _runs_elsewhere(explorer: Explorer, asked: Why, asset: AssetFacts) -> Why:
    """Endpoints run it, and none is one for which the holder can have a key. Projects are named to who may see them."""
    running = explorer.judge.endpoints(Target(ASSET, asset.pk, asset.slug, asset))
    hosts = sorted({one.project for one in running if explorer.who.shows(one.project_id, of_self=False)})
    where = f" ({', '.join(hosts[:MOST_NAMES])})" if hosts else ""
    return replace(
        asked,
        sentence=f"{asked.who} can make keys in none of the projects in which {asset.slug} runs{where}, and none of "
        "those endpoints is shared with a project in which they can.",
        remedy="Ask for access to an endpoint that is offered, or for an endpoint of one's own.",
    )


def _asks_somewhere(explorer: Explorer, holder: Holder) -> bool:
    rooms = explorer.asked.within if explorer.asked.project is not None else holder.principal.roles
    return any(allows(holder.principal, "request", Project, room) for room in rooms or ())


def _not_listed(asked: Why, holder: Holder, asset: int, slug: str) -> Why:
    """An asset that no grant opens; a grant that has ended is named."""
    one = holder.principal
    ended = [
        grant
        for grant in read.grants(asset=asset, ended=True).get(asset, ())
        if grant.ends_at is not None
        and (
            (grant.kind == "project" and one.role_in(int(grant.holder)) is not None)
            or (grant.kind == "group" and grant.holder in one.groups)
            or (grant.kind == "person" and grant.holder == str(one.person.pk))
        )
    ]
    gone = f" {_ended_grant(ended[0])}" if ended else ""
    return replace(
        asked,
        sentence=f"{slug} is only for those who are listed, and no grant that holds opens it to {asked.who}.{gone}",
        remedy="A governance lead or platform engineer can grant it to the project, a group or the person.",
        givers=_stewards(),
    )


def _ended_grant(grant: Grant) -> str:
    whom = "The own grant" if grant.kind == "person" else f"The grant to the {grant.kind} {grant.name}"
    return f"{whom} ended on {day(grant.last_day)}."


# --- Single permissions -----------------------------------------------------------------------------------------------


def _permission(explorer: Explorer, holder: Holder, rule: Rule, action: str) -> Why:
    target = explorer.targets[0] if explorer.asked.asset or explorer.asked.project else None
    project = _project_of(explorer)
    if rule.project is None:
        project = None
    elif project is None:
        raise Invalid.field("project", f"{permission(rule.model, action)} is about a project. Give project.")
    room = project.pk if project is not None else None
    found = ways(holder, lambda one: allows(one, action, rule.model, room), room)
    asked = Why(holder.name, holder.kind, permission(rule.model, action), target, "", through=tuple(found))
    what = f"{action.replace('_', ' ')} {rule.model._meta.verbose_name_plural}"
    what += f" of {project.slug}" if project is not None else ""
    asset = target.asset if target is not None and rule.model in CATALOG else None
    if found and asset is not None and not explorer.judge.reach(holder, asset, version=rule.model is not Asset):
        return _not_listed(replace(asked, through=()), holder, asset.pk, asset.slug)
    if found:
        return _allowed(asked, what)
    return _ended(asked, holder) or _roles(explorer, asked, holder, rule, action, project, what)


def _roles(
    explorer: Explorer, asked: Why, holder: Holder, rule: Rule, action: str, project: Project | None, what: str
) -> Why:
    """Say which roles would do and who can give one."""
    allowed = rule.actions[action]
    presets = _presets(permission(rule.model, action), rule)
    own = [role for role in LEAST_FIRST if role in allowed & MEMBERS]
    groups = [name for name in PLATFORM_GROUPS if name in allowed & PLATFORM]
    named = [*own, *(name.removesuffix("s").replace("-", " ") for name in groups)]
    needs = " or ".join(named) or "that allows it"
    needs += f", or a preset such as {presets[0]}" if presets and named else f" {presets[0]}" if presets else ""
    named += [name for name in presets if name not in named]
    if EVERYONE & allowed:
        return replace(asked, sentence=f"{asked.who} may not {what}.")
    if project is not None:
        role = holder.principal.role_in(project.pk)
        is_now = f"is {role} of {project.slug}" if role else f"is not a member of {project.slug}"
        sentence = f"{asked.who} {is_now}; to {what} takes the role {needs}."
        if own:
            remedy = f"Somebody who manages the members of {project.slug} can make {holder.person.username} {own[0]}."
            givers = _people(Q(memberships__project=project, memberships__role=Role.OWNER))
            return replace(asked, sentence=sentence, remedy=remedy, roles=tuple(named), givers=givers or _engineers())
    elif own:
        sentence = f"{asked.who} has the role {' or '.join(own)} in no project; to {what} takes it."
        return replace(asked, sentence=sentence, remedy="An owner of a project can give it.", roles=tuple(named))
    else:
        sentence = f"{asked.who} does not have the role {needs}; to {what} takes it."
    remedy = "A platform engineer can give it." if groups or presets else ""
    return replace(asked, sentence=sentence, remedy=remedy, roles=tuple(named), givers=_engineers() if remedy else ())


def _presets(name: str, rule: Rule) -> list[str]:
    """Return the presets that hold a permission (one query)."""
    where = [Where.PLATFORM] if rule.project is None else [Where.PLATFORM, Where.PROJECT]
    rows = Preset.objects.filter(where__in=where, permissions__contains=name).order_by("slug")
    return [one.slug for one in rows if name in one.granted][:MOST_NAMES]


def _project_of(explorer: Explorer) -> Project | None:
    asked = explorer.asked
    if asked.project is not None:
        return asked.project
    return asked.key.project if asked.key is not None and asked.asset is None else None


def _people(which: Q) -> tuple[str, ...]:
    rows = User.objects.filter(which, is_active=True, is_service=False).order_by("username").distinct()
    return tuple(rows.values_list("username", flat=True)[:MOST_NAMES])


def _stewards() -> tuple[str, ...]:
    return _people(Q(groups__name__in=["governance-leads", PLATFORM_ENGINEERS]))


def _engineers() -> tuple[str, ...]:
    return _people(Q(groups__name=PLATFORM_ENGINEERS))
