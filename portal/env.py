"""Reading the environment: 12-factor, prefix GATEHOUSE_, each variable also as …_FILE. Needs no Django.

A wrong or missing value stops the start with one sentence that names the variable and a right example.
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit


class EnvError(Exception):
    """A variable is wrong or missing; the text is the sentence for the person who starts the portal."""


def text(name: str, default: str | None = None, *, example: str = "", env: Mapping[str, str] | None = None) -> str:
    """Return variable `name`, or the content of the file that `name`_FILE names, or `default`.

    Raises EnvError when neither is set and there is no default, or when the file cannot be read.
    """
    source = os.environ if env is None else env
    if name in source:
        return source[name].strip()
    path = source.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EnvError(f"{name}_FILE points to {path!r}, which cannot be read: {error}.") from error
    if default is None:
        raise EnvError(f"{name} is not set. Set it, for example: {name}={example or '…'}")
    return default


def flag(name: str, default: bool, *, env: Mapping[str, str] | None = None) -> bool:
    """Return a yes/no variable; accepts 1/0, true/false, yes/no, on/off."""
    value = text(name, "1" if default else "0", env=env).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise EnvError(f"{name} is {value!r}, but it takes 1 or 0, for example: {name}=1")


def number(name: str, default: int, *, low: int, high: int, env: Mapping[str, str] | None = None) -> int:
    """Return a whole number within [low, high]; raises EnvError otherwise."""
    value = text(name, str(default), env=env)
    try:
        result = int(value)
    except ValueError as error:
        raise EnvError(f"{name} is {value!r}, but it takes a whole number, for example: {name}={default}") from error
    if not low <= result <= high:
        raise EnvError(f"{name} is {result}, but it must lie between {low} and {high}, for example: {name}={default}")
    return result


def choice(name: str, default: str, options: tuple[str, ...], *, env: Mapping[str, str] | None = None) -> str:
    """Return one of `options`; raises EnvError otherwise."""
    value = text(name, default, env=env)
    if value not in options:
        raise EnvError(
            f"{name} is {value!r}, but it takes one of {', '.join(options)}, for example: {name}={options[0]}"
        )
    return value


def words(name: str, default: str = "", *, env: Mapping[str, str] | None = None) -> list[str]:
    """Return a comma-separated list without its empty entries."""
    return [word.strip() for word in text(name, default, env=env).split(",") if word.strip()]


def targets(name: str, *, env: Mapping[str, str] | None = None) -> list[str]:
    """Return a list of networks (CIDR) and host names (`*.` before one takes all below it); raises EnvError for an
    entry that is neither.
    """
    found = words(name, env=env)
    for entry in found:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            host = entry.removeprefix("*.").lower()
            known = re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?", host)
            if not known or host.rsplit(".", 1)[-1].isdigit():  # no top-level domain is a number
                raise EnvError(
                    f"{name} holds {entry!r}, which is neither a network nor a host name, "
                    f"for example: {name}=10.20.0.0/16,hooks.example.com"
                ) from error
    return [entry.lower() for entry in found]


def origin(name: str, value: str) -> str:
    """Return the address of a server without a slash at its end, or ""; raises EnvError for what is none."""
    try:
        parts = urlsplit(value)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, known = urlsplit(""), False
    if value and (not known or "@" in parts.netloc or parts.query or parts.fragment):
        raise EnvError(f"{name} must be https:// with a host, for example: {name}=https://models.example.com")
    return value.rstrip("/")


def host(address: str) -> list[str]:
    """Return the host of an address that `origin` has checked, as an entry of an allow-list; none for ""."""
    found = urlsplit(address).hostname
    return [found.lower()] if found else []


def directories(name: str, entries: Iterable[str]) -> dict[str, Path]:
    """Return the folders that `name=/path` entries give, by name; raises EnvError for another form."""
    found: dict[str, Path] = {}
    for entry in entries:
        title, _, path = entry.partition("=")
        if (
            not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", title)
            or not path.startswith("/")
            or title in found
        ):
            raise EnvError(
                f"{name} holds {entry!r}; it takes name=/path, each name once, "
                f"for example: {name}=models=/srv/models,scratch=/mnt/scratch"
            )
        found[title] = Path(os.path.normpath(path))
    return found


@dataclass(frozen=True)
class MailServer:
    """How to reach the mail server."""

    host: str
    port: int
    user: str
    password: str
    tls: str  # "" none, "tls" from the first byte, "starttls"


def smtp(url: str) -> MailServer | None:
    """Return the mail server that GATEHOUSE_SMTP_URL names, None for an empty one; raises EnvError otherwise.

    smtp://host:25 speaks plain, smtps://host:465 TLS from the first byte, smtp+starttls://host:587 TLS after a hello.
    User and password stand percent-encoded before the host.
    """
    if not url:
        return None
    kinds = {"smtp": ("", 25), "smtps": ("tls", 465), "smtp+starttls": ("starttls", 587)}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in kinds or not parts.hostname or parts.path.strip("/") or parts.query:
        raise EnvError(
            "GATEHOUSE_SMTP_URL must be smtp://, smtps:// or smtp+starttls:// with a host, "
            "for example: GATEHOUSE_SMTP_URL=smtp+starttls://gatehouse:secret@mail.example.com:587"
        )
    tls, usual = kinds[parts.scheme]
    return MailServer(parts.hostname, port or usual, unquote(parts.username or ""), unquote(parts.password or ""), tls)


def state_dir(base: Path, *, env: Mapping[str, str] | None = None) -> Path:
    """Return GATEHOUSE_STATE_DIR (default `base`/var), absolute; it is created with mode 700 when missing."""
    path = Path(text("GATEHOUSE_STATE_DIR", str(base / "var"), env=env)).expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EnvError(
            f"GATEHOUSE_STATE_DIR is {str(path)!r}, which cannot be created: {error.strerror}. "
            "Use a folder that you may write to, for example: GATEHOUSE_STATE_DIR=/srv/gatehouse"
        ) from error
    return path


def database(url: str, sqlite_path: Path) -> dict[str, object]:
    """Return Django's database settings for DATABASE_URL; an empty `url` means SQLite at `sqlite_path`.

    SQLite runs in WAL with IMMEDIATE transactions: the default loses a quarter of concurrent read-then-write
    transactions
    to "database is locked". Raises EnvError for a scheme other than postgres, postgresql or sqlite.
    """
    parts = urlsplit(url) if url else None
    if parts is None or parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(sqlite_path if parts is None else Path(unquote(parts.path)[1:] or sqlite_path)),
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
                    "PRAGMA mmap_size=134217728;PRAGMA cache_size=-8000;"
                ),
            },
        }
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise EnvError(
            "DATABASE_URL must name a PostgreSQL or SQLite database, "
            "for example: DATABASE_URL=postgres://gatehouse:secret@db.example.com:5432/gatehouse"
        )
    options = dict(part.split("=", 1) for part in parts.query.split("&") if "=" in part)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(options.pop("host", parts.hostname or "")),
        "PORT": str(parts.port or ""),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 10, "timeout": 20}, **options},
        # A pool and persistent connections exclude each other.
        "CONN_MAX_AGE": 0,
    }


def redis(url: str) -> dict[str, str]:
    """Return the forms of REDIS_URL that each client wants: {"celery", "cache", "client"}.

    A socket is `unix:///path` (redis-py, Django) but `redis+socket:///path` (Celery). Database 0 is the broker, 1
    the cache.
    Raises EnvError for another scheme.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return {
            "celery": f"redis+socket://{parts.path}?virtual_host=0",
            "cache": f"unix://{parts.path}?db=1",
            "client": f"unix://{parts.path}?db=0",
        }
    if parts.scheme in {"redis", "rediss"} and parts.hostname:
        base = url.split("?")[0].rstrip("/")
        base = base if not parts.path.strip("/") else base.rsplit("/", 1)[0]
        return {"celery": f"{base}/0", "cache": f"{base}/1", "client": f"{base}/0"}
    raise EnvError(
        "REDIS_URL must be redis://, rediss:// or unix://, for example: REDIS_URL=redis://cache.example.com:6379"
    )
