"""What may stand in the fields of an application: each function returns the clean value or says what is wrong."""

import datetime as dt
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from allauth.idp.oidc.models import Client
from django.utils import timezone

from portal.errors import Invalid
from portal.http import clean_text
from projects.models import PLATFORM_ENGINEERS, Project, User
from projects.oauth.living import EXTERNAL, IDENTITY_SCOPES, MAX_CLIENT_ID
from projects.permissions import SCOPES, SHORT_LIVED

CODE, DEVICE, CREDENTIALS = "code", "device", "client_credentials"
GRANTS = {
    CODE: Client.GrantType.AUTHORIZATION_CODE.value,
    DEVICE: Client.GrantType.DEVICE_CODE.value,
    CREDENTIALS: Client.GrantType.CLIENT_CREDENTIALS.value,
}
ALL_GRANTS = (*GRANTS, EXTERNAL)
KINDS = tuple(Client.Type.values)
MAX_DAYS, DEFAULT_DAYS, MAX_REDIRECTS, MAX_REDIRECT = 365, 90, 10, 500
APP_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")  # a reversed domain, as RFC 8252 wants it


def clean_name(name: object) -> str:
    """Return the name; raises Invalid."""
    return clean_text(name, field="name", low=1, high=80)


def clean_description(text: object) -> str:
    """Return the description; raises Invalid."""
    return clean_text(text, field="description", high=300)


def clean_grants(grants: Iterable[str], kind: str) -> list[str]:
    """Return the ways to a token, in a fixed order. Raises Invalid for one that is unknown, or that does not go with
    the others or with `kind` (confidential or public).
    """
    wanted = set(grants)
    unknown = sorted(wanted - set(ALL_GRANTS))
    if unknown or not wanted:
        shown = str(unknown[0])[:40] if unknown else "nothing"
        raise Invalid.field("grants", f"grants holds {shown!r}; choose from {', '.join(ALL_GRANTS)}.")
    if kind not in KINDS:
        raise Invalid.field("kind", f"kind is {str(kind)[:40]!r}; choose {' or '.join(KINDS)}.")
    if EXTERNAL in wanted and len(wanted) > 1:
        raise Invalid.field("grants", "external stands alone: such an application gets its tokens elsewhere.")
    if CREDENTIALS in wanted and kind == Client.Type.PUBLIC:
        raise Invalid.field("kind", "client_credentials needs a secret, so the application must be confidential.")
    if DEVICE in wanted and kind != Client.Type.PUBLIC:
        raise Invalid.field("kind", "The device flow is for programs that cannot keep a secret: choose public.")
    return [name for name in ALL_GRANTS if name in wanted]


def clean_scopes(scopes: Iterable[str], grants: Iterable[str], held: frozenset[str] | None) -> list[str]:
    """Return the scopes in their order. `held` are those of the token that asks, None for a session: an application
    that acts by itself gets no more than they hold. Raises Invalid.
    """
    wanted, ways = set(scopes), set(grants)
    personal = bool(ways & {CODE, DEVICE})
    known = [*(IDENTITY_SCOPES if personal else ()), *SCOPES]
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        shown = str(unknown[0])[:40] if unknown else "nothing"
        raise Invalid.field("scopes", f"scopes holds {shown!r}; choose from {', '.join(known)}.")
    strong = sorted(SHORT_LIVED & wanted)
    if strong and not personal:
        raise Invalid.field(
            "scopes", f"{', '.join(strong)} needs a person with a second factor; take it away or use code or device."
        )
    if ways & {CREDENTIALS, EXTERNAL} and held is not None and not wanted - SHORT_LIVED <= held | set(IDENTITY_SCOPES):
        raise Invalid.field("scopes", "An application cannot carry scopes that the token which creates it lacks.")
    return [scope for scope in known if scope in wanted]


def clean_redirects(addresses: Iterable[str], grants: Iterable[str]) -> list[str]:
    """Return the addresses to which codes may go: https, http on this very machine, or the scheme of an app. None
    without the code flow. Raises Invalid.
    """
    found = [clean_text(address, field="redirect_uris", high=MAX_REDIRECT) for address in addresses]
    found = list(dict.fromkeys(address for address in found if address))
    if CODE not in set(grants):
        if found:
            raise Invalid.field("redirect_uris", "redirect_uris belongs to the code flow. Leave it empty.")
        return []
    if not 1 <= len(found) <= MAX_REDIRECTS:
        raise Invalid.field(
            "redirect_uris", f"redirect_uris has {len(found)} entries; the code flow needs 1 to {MAX_REDIRECTS}."
        )
    for address in found:
        why = _why_not(address)
        if why:
            raise Invalid.field("redirect_uris", f"{address[:100]} {why}")
    return found


def _why_not(address: str) -> str:
    """Return why a code may not be sent there, "" when it may."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no address. Write it like https://app.example.com/callback."
    if not address.isascii() or re.search(r"[\s\\*<>\"'`{}|^]", address):
        return "holds a character that an address may not hold; wildcards are not taken."
    if parts.fragment or "#" in address:
        return "holds a fragment (#). Take it away."
    if parts.username is not None or parts.password is not None:
        return "holds a user name. Take it away."
    if parts.scheme in {"https", "http"}:
        if not host or port == 0:
            return "names no host."
        if parts.scheme == "http" and host not in {"localhost", "127.0.0.1", "::1"}:
            return "begins with http://, which is only for this very machine (127.0.0.1). Use https://."
        if any(step in {".", ".."} for step in parts.path.split("/")):
            return "has . or .. in its path."
        return ""
    if APP_SCHEME.fullmatch(parts.scheme):
        return ""
    return "begins with neither https:// nor the scheme of an app, which is a reversed domain like com.example.app:/."


def clean_end(ends_on: object) -> dt.datetime:
    """Return the moment after the last day `ends_on` (UTC), 1 to 365 days ahead; None means 90. Raises Invalid."""
    today = timezone.now().date()
    if ends_on is None or ends_on == "":
        ends_on = today + dt.timedelta(days=DEFAULT_DAYS)
    if isinstance(ends_on, str):
        shown = ends_on[:20]
        try:
            ends_on = dt.date.fromisoformat(ends_on)
        except ValueError as error:
            raise Invalid.field("ends_on", f"ends_on is {shown!r}; write a date as YYYY-MM-DD.") from error
    last = today + dt.timedelta(days=MAX_DAYS)
    if not isinstance(ends_on, dt.date) or not today < ends_on <= last:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}; it must lie between tomorrow and {last}.")
    return dt.datetime.combine(ends_on + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC)


def clean_owner(username: object, project: Project | None) -> User:
    """Return the person who answers for it: active, no service account, a member of the project or a platform
    engineer. Raises Invalid.
    """
    name = clean_text(username, field="owner", low=1, high=150)
    person = User.objects.filter(username=name, is_active=True, is_service=False).first()
    if person is None:
        raise Invalid.field("owner", "owner must be the user name of a person who works here.")
    belongs = project is not None and person.memberships.filter(project=project).exists()
    if not belongs and not person.groups.filter(name=PLATFORM_ENGINEERS).exists():
        where = f"a member of {project.slug} or " if project else ""
        raise Invalid.field("owner", f"owner must be {where}a platform engineer.")
    return person


def clean_client_id(text: object) -> str:
    """Return the id that a client has at the issuer outside. Raises Invalid."""
    found = clean_text(text, field="client_id", low=1, high=MAX_CLIENT_ID)
    if not found.isascii() or re.search(r"\s", found):
        raise Invalid.field("client_id", "client_id takes letters, digits and signs, no spaces; as the issuer has it.")
    return found
