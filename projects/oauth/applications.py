"""Applications: programs that come through the OAuth provider. Each has an owner and an end, and acts for people who
said yes, or as a service account of its own.
"""

from collections.abc import Iterable
from uuid import UUID

from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client, Token
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import slugify

from audit.services import Actor, record, system
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.states import move
from projects import epoch, people, services
from projects.models import ApiKey, Application, KeyState, Project, User
from projects.oauth import fields
from projects.oauth.living import EXTERNAL, is_external
from projects.permissions import SHORT_LIVED, can, require
from projects.principal import Principal

LIMIT = 50  # living applications of a project, or of the platform
NO_SECRET = "!"  # noqa: S105 - no password hash looks like that, so nothing fits
BATCH = 200


def may(by: Principal, action: str, project: Project | None) -> bool:
    """Whether `by` may do `action` with applications of `project`, or of the whole platform."""
    return can(by, action, project, model=Application) if project else can(by, action, Application())


def create(
    by: Principal,
    *,
    project: Project | None,
    name: str,
    grants: Iterable[str],
    scopes: Iterable[str],
    redirect_uris: Iterable[str] = (),
    kind: str = "confidential",
    owner: str = "",
    ends_on: object = None,
    role: str = "",
    description: str = "",
    client_id: str = "",
) -> tuple[Application, str]:
    """Register an application and return it with its secret, which exists nowhere else ("" where there is none).

    `grants`: code, device, client_credentials, or external alone (then `client_id` is its id at the issuer of
    settings.EXTERNAL_JWT); `owner` a user name, empty: the caller; `role` of the service account in the project.
    Raises Forbidden or NotFound, Invalid naming the field, and Conflict for a name that is taken or above LIMIT.
    """
    if project is not None:
        require(by, "create", project, model=Application)
    ways = fields.clean_grants(grants, kind)
    if (project is None or EXTERNAL in ways) and not may(by, "create", None):
        # Whoever names a client of the company's issuer speaks for it: that is for the platform's engineers.
        raise Forbidden(
            "Only a platform engineer registers a client of the outside issuer, or an application without a project. "
            "Ask one, or choose another grant."
        )
    label, ends_at = fields.clean_name(name), fields.clean_end(ends_on)
    client = Client(name=label, type=kind, secret=NO_SECRET, skip_consent=False, response_types="code")
    if EXTERNAL in ways:
        client.pk, client.data = fields.clean_client_id(client_id), {EXTERNAL: True}
        if settings.EXTERNAL_JWT is None:
            raise Invalid.field("grants", "external needs GATEHOUSE_JWT_ISSUER, which is not set.")
    elif client_id:
        raise Invalid.field("client_id", "client_id is given by the portal. Leave it empty.")
    _write(client, ways, fields.clean_scopes(scopes, ways, by.scopes), fields.clean_redirects(redirect_uris, ways))
    secret = "" if kind == Client.Type.PUBLIC or EXTERNAL in ways else get_adapter().generate_client_secret()
    if secret:
        client.set_secret(secret)
    application = Application(
        client=client,
        project=project,
        owner=fields.clean_owner(owner or by.name, project),
        description=fields.clean_description(description),
        ends_at=ends_at,
    )
    acts = bool({fields.CREDENTIALS, EXTERNAL} & set(ways))
    if role and not (acts and project):
        raise Invalid.field("role", "role is for the service account of a project's application. Leave it empty.")
    try:
        with transaction.atomic():
            _make_room(project, label)
            if Client.objects.filter(pk=client.pk).exists():
                raise Conflict("There is an application with this client_id already.", code="name_taken")
            client.save(force_insert=True)
            application.account = _account(by, label) if acts else None
            application.save()
            record(
                "applications.create", by=by, obj=application, project=slug_of(application), after=facts(application)
            )
            if application.account is not None and project is not None:
                services.set_member(by, project, username=application.account.username, role=role or "developer")
    except IntegrityError as error:  # somebody took the name of the account, or the client's id, in this very moment
        raise Conflict("Somebody registered the same name at the same time. Try again.", code="name_taken") from error
    return application, secret


def _write(client: Client, ways: list[str], scopes: list[str], redirects: list[str]) -> None:
    kinds = [fields.GRANTS[way] for way in ways if way in fields.GRANTS]
    if {fields.CODE, fields.DEVICE} & set(ways):
        kinds.append(Client.GrantType.REFRESH_TOKEN.value)
    client.set_grant_types(kinds)
    client.set_scopes(scopes)
    client.set_default_scopes([scope for scope in scopes if scope not in SHORT_LIVED])
    client.set_redirect_uris(redirects)


def _make_room(project: Project | None, name: str) -> None:
    if project is not None:
        Project.objects.select_for_update().get(pk=project.pk)  # two creators at once count one after the other
    living = Application.objects.filter(project=project, ended_at__isnull=True)
    if living.count() >= LIMIT:
        where = f"{project.slug} has" if project else "The platform has"
        raise Conflict(f"{where} {LIMIT} applications, which is the limit. End one first.", code="too_many")
    if living.filter(client__name=name).exists():
        raise Conflict(f"There is an application named {name} already. Choose another name.", code="name_taken")


def _account(by: Principal, name: str) -> User:
    """Make the service account under the first free name."""
    word = slugify(name)[:60] or "application"
    taken = set(User.objects.filter(username__startswith=f"svc-{word}").values_list("username", flat=True))
    numbers = (f"svc-{word}" if number == 1 else f"svc-{word}-{number}" for number in range(1, len(taken) + 2))
    username = next(candidate for candidate in numbers if candidate not in taken)
    return people.create_person(by, username=username, full_name=name, service=True)


def rotate(by: Principal, application: Application) -> str:
    """Give an application a new secret and return it; the old one stops at once. Tokens that it has live on, for an
    hour at most.

    Raises Forbidden or NotFound, and Conflict when it has ended or has no secret.
    """
    require(by, "rotate", application)
    secret: str = get_adapter().generate_client_secret()
    with transaction.atomic():
        current = _lock(application)
        if current.client.secret == NO_SECRET:
            raise Conflict("This application has no secret here, so there is nothing to rotate.", code="no_secret")
        current.client.set_secret(secret)
        current.client.save(update_fields=["secret"])
        record("applications.rotate", by=by, obj=current, project=slug_of(current), after={"client": current.client_id})
    return secret


def change(
    by: Principal,
    application: Application,
    *,
    owner: str | None = None,
    ends_on: object = None,
    scopes: Iterable[str] | None = None,
    redirect_uris: Iterable[str] | None = None,
    description: str | None = None,
) -> Application:
    """Change owner, end, scopes, redirect addresses or description; None leaves a field as it is. A scope that is taken
    away is gone from living tokens at once.

    Raises Forbidden or NotFound, Invalid naming the field, and Conflict when the application has ended.
    """
    require(by, "change", application)
    with transaction.atomic():
        current = _lock(application)
        before, client, ways = facts(current), current.client, grants_of(current.client)
        if owner is not None and owner != current.owner.username:
            current.owner = fields.clean_owner(owner, current.project)
        if ends_on is not None:
            current.ends_at = fields.clean_end(ends_on)
        if description is not None:
            current.description = fields.clean_description(description)
        wanted = client.get_scopes() if scopes is None else fields.clean_scopes(scopes, ways, by.scopes)
        targets = client.get_redirect_uris() if redirect_uris is None else redirect_uris
        _write(client, ways, wanted, fields.clean_redirects(targets, ways))
        after = facts(current)
        changed = [name for name in after if after[name] != before[name]]
        if changed:
            client.save(update_fields=["scopes", "default_scopes", "redirect_uris"])
            current.save(update_fields=["owner", "ends_at", "description"])
            record(
                "applications.change",
                by=by,
                obj=current,
                project=slug_of(current),
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )
    return current


def end(by: Principal, application: Application, *, reason: str = "") -> Application:
    """End an application at once: its tokens are gone, its service account is closed, and the account's keys with it.

    Raises Forbidden or NotFound, and Conflict when it has ended already.
    """
    require(by, "end", application)
    with transaction.atomic():
        current = _lock(application)
        _end(by, current, reason)
    return current


def expire() -> int:
    """End applications whose last day has passed; they are refused from that moment anyway. Returns how many."""
    due = Application.objects.filter(ended_at__isnull=True, ends_at__lte=timezone.now())
    count = 0
    for pk in list(due.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            current = _selected().select_for_update(of=("self",)).get(pk=pk)
            if current.ended_at is None and current.ends_at <= timezone.now():
                _end(system("applications"), current, "Its end date has passed.")
                count += 1
    return count


def _end(by: Actor, current: Application, reason: str) -> None:
    tokens = Token.objects.filter(client=current.client)
    counts = {"tokens_ended": tokens.count()}
    tokens.delete()
    current.ended_at = timezone.now()
    current.save(update_fields=["ended_at"])
    if current.account is not None:
        User.objects.filter(pk=current.account.pk).update(is_active=False)
        counts["keys_revoked"] = _revoke_keys(by, current.account, reason)
        epoch.bump()
    record(
        "applications.end",
        by=by,
        obj=current,
        project=slug_of(current),
        before={"name": current.client.name, "ends_at": current.ends_at},
        after={"ended_at": current.ended_at, **counts},
        reason=reason,
    )


def _revoke_keys(by: Actor, account: User, reason: str) -> int:
    count = 0
    for key in ApiKey.objects.select_related("project").filter(person=account):
        for source in (KeyState.ACTIVE, KeyState.ROTATING):
            if move(ApiKey.objects.filter(pk=key.pk), source, KeyState.REVOKED, revoked_at=timezone.now()):
                before = {"state": source}
                record("keys.revoke", by=by, obj=key, project=key.project.slug, before=before, reason=reason)
                count += 1
    return count


def _selected() -> QuerySet[Application]:
    return Application.objects.select_related("client", "project", "owner", "account")


def _lock(application: Application) -> Application:
    """Return the row as it stands now, locked; raises Conflict when the application has ended."""
    current: Application = _selected().select_for_update(of=("self",)).get(pk=application.pk)
    if current.ended_at is not None:
        raise Conflict("This application has ended. Register a new one.", code="application_ended")
    return current


def application_or_404(by: Principal, pk: UUID, project: Project | None = None) -> Application:
    """Return an application that `by` may see; raises NotFound."""
    rows = _selected().filter(pk=pk)
    found: Application | None = (rows.filter(project=project) if project else rows).first()
    if found is None or not can(by, "view", found):
        raise NotFound("There is no such application, or you may not see it.")
    return found


def grants_of(client: Client) -> list[str]:
    """Return the ways to a token as they are called here."""
    if is_external(client):
        return [EXTERNAL]
    held = set(client.get_grant_types())
    return [way for way, grant in fields.GRANTS.items() if grant in held]


def slug_of(application: Application) -> str:
    """Return the project's slug, "" for an application of the platform."""
    return application.project.slug if application.project else ""


def facts(application: Application) -> dict[str, object]:
    """Return what an audit row may say."""
    client = application.client
    return {
        "name": client.name,
        "client": client.pk,
        "kind": client.type,
        "grants": grants_of(client),
        "scopes": client.get_scopes(),
        "redirects": client.get_redirect_uris(),
        "owner": application.owner.username,
        "ends_at": application.ends_at,
        "description": application.description,
        "account": application.account.username if application.account else "",
    }
