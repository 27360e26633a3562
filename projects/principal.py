"""Who acts, through what, with which limits: what every permission question and every audit row starts from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Value
from django.http import HttpRequest

from projects.compiled import Compiled
from projects.models import Membership, Preset, Project, User, Where

Held = tuple[int | None, str, str | None]  # project, none for a group; role or group; the permissions of the preset
NOWHERE = Value(None, output_field=BigIntegerField())


class PortalRequest(HttpRequest):
    """What the middlewares put on a request; for annotations only, nothing ever makes one."""

    principal: "Principal"
    credential: Any  # projects.credentials.Credential, on calls of the API
    project: Project | None  # chosen in the switcher; None = all
    projects: list[Project]  # what pages offer, projects.middleware.offered; only there when one is chosen
    standing: Any  # approvals.stages.standing.Standing; only there when a part of the page needed it
    waiting: int  # requests that wait for them, in all projects; only there when the page has counted them
    request_id: str
    address: str


@dataclass(frozen=True)
class Principal:
    """A person or service account, as it came in. `scopes` None means a signed-in session: no scope limits it."""

    user: User | None = None
    via: str = "session"  # session | token | key | command | system
    scopes: frozenset[str] | None = None
    project_id: int | None = None  # a token or key that is bound to one project
    groups: frozenset[str] = frozenset()
    roles: Mapping[int, str] = field(default_factory=dict)  # project id → role, or the slug of a preset
    # What the presets among them allow, by slug; those held as groups and those held in projects never mix.
    presets: Mapping[Where, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    second_factor: str = ""  # totp, webauthn, recovery_codes, sso, host; empty: none
    credential: str = ""  # id of the token or key, for rate limits and idempotency
    request_id: str = ""
    address: str = ""

    @classmethod
    def of(
        cls,
        user: User,
        *,
        via: str = "session",
        scopes: frozenset[str] | None = None,
        project_id: int | None = None,
        credential: str = "",
        request_id: str = "",
        address: str = "",
        second_factor: str = "",
    ) -> "Principal":
        """Return the principal of `user` with groups, roles and presets read from the database (one query, and none
        right after `holder` has read them).
        """
        rows, user.held = user.held, None
        held = [(project, name, allowed) for project, name, allowed in (rows or _HELD.rows(user.pk))]
        return cls(
            user=user,
            via=via,
            scopes=scopes,
            project_id=project_id,
            second_factor=second_factor,
            credential=credential,
            request_id=request_id,
            address=address,
            **_holdings(held),
        )

    @classmethod
    def many(cls, users: QuerySet[User]) -> dict[int, "Principal"]:
        """Return what `of` returns for a session of each of `users`, by the user's id, in their order (two queries)."""
        found: dict[int, list[Held]] = {user.pk: [] for user in users}
        # By their ids: what chose them, however hard it was, is asked once.
        for pk, *one in _held({"user__in": list(found)}, "user_id"):
            found[pk].append((one[0], one[1], one[2]))
        return {user.pk: cls(user=user, **_holdings(found[user.pk])) for user in users}

    @classmethod
    def holders(cls, users: QuerySet[User]) -> list["Principal"]:
        """Return what `many` returns for those of `users` who hold any role or group, by their id (one query)."""
        return cls.gathered(held_by(users))

    @classmethod
    def gathered(cls, rows: Iterable[tuple[Any, ...]]) -> list["Principal"]:
        """Return the principals of the rows of `held_by`, by their id."""
        held: dict[int, tuple[User, list[Held]]] = {}
        for row in rows:
            user = _person(row)
            held.setdefault(user.pk, (user, []))[1].append(row[len(_COLUMNS) :])
        return [cls(user=user, **_holdings(rows)) for _, (user, rows) in sorted(held.items())]

    @property
    def person(self) -> User:
        """The user; raises LookupError for an anonymous principal."""
        if self.user is None:
            raise LookupError("nobody is signed in")
        return self.user

    @property
    def key(self) -> str:
        """Stable identity for audit rows."""
        return f"user:{self.user.public_id}" if self.user else "anonymous"

    @property
    def name(self) -> str:
        """User name, as people know each other."""
        return self.user.username if self.user else "anonymous"

    @property
    def is_authenticated(self) -> bool:
        """Whether somebody is there at all, and still active."""
        return self.user is not None and self.user.is_active

    def role_in(self, project_id: int | None) -> str | None:
        """The role in a project; None for a stranger, or when the credential is bound to another project."""
        if project_id is None or (self.project_id is not None and self.project_id != project_id):
            return None
        return self.roles.get(project_id)


def _holdings(held: Sequence[Held]) -> dict[str, Any]:
    """Return groups, roles and presets from (project, role) and (None, group), each with what its preset allows."""
    presets: dict[Where, dict[str, frozenset[str]]] = {Where.PROJECT: {}, Where.PLATFORM: {}}
    for project, name, allowed in held:
        if allowed is not None:
            presets[Where.PLATFORM if project is None else Where.PROJECT][name] = frozenset(allowed.split())
    return {
        "groups": frozenset(name for project, name, _ in held if project is None),
        "roles": {project: role for project, role, _ in held if project is not None},
        "presets": presets,
    }


def _allowed(where: Where, column: str) -> Subquery:
    """Return the permissions of the preset that `column` names, null where it names none."""
    return Subquery(Preset.objects.filter(where=where, slug=OuterRef(column)).values("permissions")[:1])


def _held(whose: Mapping[str, Any], *along: str) -> QuerySet[Any, Any]:
    """Return roles and groups of those who fit the filter `whose`, each with what its preset allows, behind `along`."""
    groups = User.groups.through.objects.filter(**whose).order_by()
    members = Membership.objects.filter(**whose).order_by()
    return members.values_list(*along, "project_id", "role", _allowed(Where.PROJECT, "role")).union(
        groups.values_list(*along, NOWHERE, "group__name", _allowed(Where.PLATFORM, "group__name")), all=True
    )


def held_by(users: QuerySet[User]) -> QuerySet[Any, Any]:
    """Return what each of `users` holds, a row for each role or group, behind the columns of the person."""
    return _held({"user__in": users.order_by().values("pk")}, *_THEIRS)


def _person(row: tuple[Any, ...]) -> User:
    return User.from_db(DEFAULT_DB_ALIAS, _COLUMNS, row[: len(_COLUMNS)])


def holder(pk: int) -> User | None:
    """Return a user together with what they hold, for the next `Principal.of` of this very object; None for a stranger
    and for who holds nothing (one query).
    """
    rows = _HOLDER.rows(pk)
    if not rows:
        return None
    user = _person(rows[0])
    user.held = [row[len(_COLUMNS) :] for row in rows]
    return user


_COLUMNS = [column.attname for column in User._meta.concrete_fields]
_THEIRS = [f"user__{column}" for column in _COLUMNS]
_MARKER = -4_611_686_018_427_387_903
_HELD = Compiled(lambda pk: _held({"user_id": pk}), _MARKER)
_HOLDER = Compiled(lambda pk: _held({"user_id": pk}, *_THEIRS), _MARKER)
ANONYMOUS = Principal()
