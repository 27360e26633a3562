"""Where somebody stands: which open stages they may decide, by their own roles or by those that were lent to them.

`Request.waiting_on` names who may decide the open stage, as `tokens` makes it: a group by its name, the owners of a
project as "owner:<id>", and "*" where everybody who decides requests may. So a list is judged without a query per row.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from approvals.builtin import is_own
from approvals.models import Request, RequestKind
from approvals.permissions import DECIDERS
from projects.compiled import Compiled
from projects.models import User, Where
from projects.permissions import OWNER, allows, permission
from projects.principal import PortalRequest, Principal, held_by

ANY = "*"


def asked_project(request: Request) -> int | None:
    """Return the project whose owners a stage with the role `owner` means: the one that would share its endpoint, else
    the request's own.
    """
    if request.kind == RequestKind.ACCESS:
        return request.endpoint.project_id if request.endpoint is not None else None
    return request.project_id


def tokens(request: Request, roles: Iterable[str]) -> str:
    """Return who may decide a stage for `roles`, as `Request.waiting_on` keeps it; "" when it would be nobody."""
    wanted, project = set(roles), asked_project(request)
    found = wanted - {OWNER}
    if OWNER in wanted and project is not None:
        found.add(f"{OWNER}:{project}")
    if wanted >= DECIDERS:
        found.add(ANY)
    return "".join(f"|{one}" for one in sorted(found)) + "|" if found else ""


def split(text: str) -> frozenset[str]:
    """Return the words of a text such as |a|b|."""
    return frozenset(text.strip("|").split("|")) - {""}


def owns(one: Principal, project_id: int) -> bool:
    """Whether `one` answers for what is asked of a project: its owners, and presets that decide there."""
    role = one.role_in(project_id)
    allowed = one.presets.get(Where.PROJECT, {}).get(role, frozenset()) if role else frozenset()
    return role == OWNER or permission(Request, "decide") in allowed


def entitled(one: Principal, wanted: frozenset[str], project_id: int | None) -> bool:
    """Whether the roles of `one` are among `wanted` (tokens) for a request of that project. Costs no query."""
    if not one.is_authenticated:
        return False
    if any(f"{OWNER}:{pk}" in wanted and owns(one, pk) for pk in one.roles):
        return True
    return allows(one, "decide", Request, project_id) and (ANY in wanted or bool(one.groups & wanted))


def lenders(person_id: int | OuterRef, now: dt.datetime | None = None) -> QuerySet[User]:
    """Return the active people who let that person (an id, or a reference to one) decide for them now."""
    now = now or timezone.now()
    return User.objects.filter(
        is_active=True,
        is_service=False,
        delegations_given__delegate=person_id,
        delegations_given__revoked_at__isnull=True,
        delegations_given__starts_at__lte=now,
        delegations_given__ends_at__gt=now,
    ).distinct()


# Asked with every page of whoever reviews: made anew, the query costs five times as much as its answer.
_LENT = Compiled(lambda pk, now: held_by(lenders(pk, now)), -1, dt.datetime(1, 2, 3, tzinfo=dt.UTC))


@dataclass(frozen=True)
class Seat:
    """From where somebody decides: by their own roles, or by those of `behalf`."""

    principal: Principal  # whose permissions count
    behalf: User | None


@dataclass(frozen=True)
class Refusal:
    """Why somebody has no seat: "none" (no role), "used" (they, or who lends to them, said yes already), or "barred",
    with the sentence and the code of that.
    """

    why: str
    sentence: str = ""
    code: str = ""


Barred = Callable[[User], Refusal | None]


@dataclass(frozen=True)
class Standing:
    """A person with the principals whose roles they may use: the own one first, then those who delegated.

    Roles that were lent are not handed on: the principal of a delegator holds the delegator's own roles only.
    """

    by: Principal
    lent: tuple[Principal, ...] = ()

    @classmethod
    def of(cls, by: Principal) -> "Standing":
        """Read who lends to `by` (one query). The limits of a credential stay."""
        if by.user is None or by.user.is_service:
            return cls(by)
        held = Principal.gathered(_LENT.rows(by.user.pk, timezone.now()))
        return cls(by, tuple(replace(one, project_id=by.project_id, scopes=by.scopes, via=by.via) for one in held))

    @classmethod
    def seen(cls, request: PortalRequest) -> "Standing":
        """Return the standing of who reads a page, read once for all parts of it."""
        if getattr(request, "standing", None) is None:
            request.standing = cls.of(request.principal)
        found: Standing = request.standing
        return found

    @property
    def principals(self) -> tuple[Principal, ...]:
        """All whose roles count."""
        return (self.by, *self.lent)

    def could(self, wanted: Iterable[frozenset[str]], project_id: int | None) -> bool:
        """Whether one of these stages (tokens) is theirs by role, whoever has decided what."""
        found = list(wanted)
        return any(entitled(one, stage, project_id) for one in self.principals for stage in found)

    def seat(
        self,
        request: Request,
        wanted: frozenset[str],
        used: frozenset[str],
        barred: Barred,
    ) -> Seat | Refusal:
        """Return from where they may decide a stage (tokens); a person and an authority count once per submission.

        `used`: ids of those who said yes already, themselves or through a delegate. `barred`: who must not, and why.
        """
        me = self.by.person
        if (refusal := barred(me)) is not None:
            return refusal
        refusal = Refusal("none")
        for one in self.principals:
            person = one.person
            if not entitled(one, wanted, request.project_id):
                continue
            if (not_they := barred(person)) is not None:
                refusal = not_they
                continue
            if str(me.pk) in used or str(person.pk) in used:
                refusal = Refusal("used")
                continue
            return Seat(one, None if one is self.by else person)
        return refusal

    def decides(self, request: Request) -> bool:
        """Whether they may decide the open stage of a submitted request: for lists, without a query."""
        wanted, used = split(request.waiting_on), split(request.answered_by)

        def own(person: User) -> Refusal | None:
            return Refusal("barred") if is_own(person, request.requester_id) else None

        return bool(wanted) and isinstance(self.seat(request, wanted, used, own), Seat)
