"""Who acts, through what, with which limits: what every permission question and every audit row starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import BigIntegerField, OuterRef, Subquery, Value
from django.http import HttpRequest

from projects.models import Preset, Project, User, Where


class PortalRequest(HttpRequest):
    """What the middlewares put on a request; for annotations only, nothing ever makes one."""

    principal: "Principal"
    project: Project | None  # chosen in the switcher; None = all
    projects: list[Project]  # what the switcher offers; only there when one is chosen
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
        """Return the principal of `user` with groups, roles and presets read from the database (one query)."""
        nowhere = Value(None, output_field=BigIntegerField())
        groups = user.groups.order_by().values_list(nowhere, "name", _allowed(Where.PLATFORM, "name"))
        members = user.memberships.order_by().values_list("project_id", "role", _allowed(Where.PROJECT, "role"))
        held = list(members.union(groups, all=True))
        presets: dict[Where, dict[str, frozenset[str]]] = {Where.PROJECT: {}, Where.PLATFORM: {}}
        for project, name, allowed in held:
            if allowed is not None:
                presets[Where.PLATFORM if project is None else Where.PROJECT][name] = frozenset(allowed.split())
        return cls(
            user=user,
            via=via,
            scopes=scopes,
            project_id=project_id,
            groups=frozenset(name for project, name, _ in held if project is None),
            roles={project: role for project, role, _ in held if project is not None},
            presets=presets,
            second_factor=second_factor,
            credential=credential,
            request_id=request_id,
            address=address,
        )

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


def _allowed(where: Where, column: str) -> Subquery:
    """Return the permissions of the preset that `column` names, null where it names none."""
    return Subquery(Preset.objects.filter(where=where, slug=OuterRef(column)).values("permissions")[:1])


ANONYMOUS = Principal()
