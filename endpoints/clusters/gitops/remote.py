"""Where a repository is and how git gets there: checked addresses, pinned; secrets by environment and descriptor."""

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from django.conf import settings

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.gitops.program import Way
from endpoints.clusters.gitops.words import error
from portal import outbound

PURPOSE = "git"  # in settings.OUTBOUND_ALLOW
SSH_PORT = 22
MOST_URL = 500
_SHORT_FORM = re.compile(r"(?:([\w.-]+)@)?([A-Za-z0-9][\w.-]*):(?!/)([^\s].*)")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
EXAMPLES = "ssh://git@git.example.com/platform/fleet.git or https://git.example.com/platform/fleet.git"


class Unusable(ValueError):
    """The address is none that the portal uses; the text is one sentence."""


@dataclass(frozen=True)
class Remote:
    """A repository by its parts; `scheme` is file, ssh, https or http, `path` begins with a slash."""

    scheme: str
    path: str
    host: str = ""
    port: int | None = None
    user: str = ""

    @property
    def url(self) -> str:
        """The address without a user, as git gets it and as people see it."""
        if self.scheme == "file":
            return f"file://{quote(self.path)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{quote(self.path)}"


def parse(text: str) -> Remote:
    """Return the parts of an address, also of the form git@host:path; raises Unusable."""
    url = text.strip()
    if len(url) > MOST_URL or not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
        raise Unusable(f"The address of the repository must be at most {MOST_URL} plain characters: {EXAMPLES}.")
    short = _SHORT_FORM.fullmatch(url)
    if short and "://" not in url and "::" not in url:
        url = f"ssh://{short[1] or 'git'}@{short[2]}/{short[3]}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Unusable(f"The address of the repository must look like {EXAMPLES}.") from None
    path = unquote(parts.path)
    if parts.query or parts.fragment or parts.scheme not in ("file", "ssh", "https", "http") or port == 0:
        raise Unusable(f"The address of the repository must look like {EXAMPLES}.")
    if parts.password is not None:
        raise Unusable("The address of the repository must not hold a password; give the token in its own field.")
    if any(part in ("", ".", "..") or part.startswith("-") for part in path.strip("/").split("/")):
        raise Unusable("The path of the repository must be plain: no empty part, no “..”, none that begins with “-”.")
    if any(char < " " for char in path):
        raise Unusable("The path of the repository holds a control character.")
    if parts.scheme == "file":
        if parts.netloc:
            raise Unusable("A repository on this machine is written file:///srv/git/fleet.git, with three slashes.")
        return Remote("file", path)
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or (parts.username and not _USER.fullmatch(parts.username)):
        raise Unusable(f"The address of the repository must look like {EXAMPLES}.")
    return Remote(parts.scheme, path, host, port, parts.username or ("git" if parts.scheme == "ssh" else ""))


def checked(remote: Remote) -> list[str]:
    """Return the addresses that may be called for `remote`, none for one on this machine; raises OutboundRefused and
    OutboundFailed.
    """
    if remote.scheme == "file":
        _check_directory(Path(remote.path))
        return []
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    if remote.scheme == "ssh":  # port 22 is the one of this protocol; any other is judged like one of a web server
        port = remote.port if remote.port not in (None, SSH_PORT) else 443
        found = outbound.destination(f"https://{host}:{port}/", purpose=PURPOSE)
    else:
        found = outbound.destination(f"{remote.scheme}://{host}{f':{remote.port}' if remote.port else ''}/",
                                     purpose=PURPOSE)  # fmt: skip
    return found.addresses


def _check_directory(path: Path) -> None:
    allowed = [Path(one).resolve() for one in settings.GIT_DIRECTORIES]
    real = path.resolve()
    if not any(real.is_relative_to(one) for one in allowed):
        raise outbound.OutboundRefused(
            "The portal uses no repository in that directory. Whoever runs the portal can allow it in"
            " GATEHOUSE_GIT_DIRECTORIES."
        )


@contextmanager
def way(place: Place, directory: Path) -> Iterator[Way]:
    """Yield how git gets to the repository of `place`; files without secrets are kept in `directory`. Raises
    ClusterError.
    """
    try:
        remote = parse(place.repository)
        addresses = checked(remote)
    except (Unusable, outbound.OutboundRefused) as refusal:
        raise error("git_address_refused", detail=refusal) from refusal
    except outbound.OutboundFailed as failure:
        raise error("git_unreachable", detail=str(failure).rstrip(".")) from failure
    if remote.scheme == "file":
        yield Way(remote.url, "file")
    elif remote.scheme == "ssh":
        with _ssh(place, remote, addresses, directory) as found:
            yield found
    else:
        yield _http(place, remote, addresses, directory)


def _http(place: Place, remote: Remote, addresses: list[str], directory: Path) -> Way:
    """The token goes into a header by the child's environment: no file, no argument and no helper sees it."""
    port = remote.port or (443 if remote.scheme == "https" else 80)
    pinned = ",".join(f"[{one}]" if ":" in one else one for one in addresses)
    config = {"http.curloptResolve": f"{remote.host}:{port}:{pinned}", "http.sslVerify": "true"}
    if place.repository_ca:
        config["http.sslCAInfo"] = str(_written(directory / "ca.pem", place.repository_ca))
    if place.repository_secret:
        pair = f"{remote.user or 'git'}:{place.repository_secret}".encode()
        config[f"http.{remote.url}.extraHeader"] = f"Authorization: Basic {base64.b64encode(pair).decode()}"
    return Way(remote.url, remote.scheme, config)


@contextmanager
def _ssh(place: Place, remote: Remote, addresses: list[str], directory: Path) -> Iterator[Way]:
    """The key lies in memory of this process and is read through it: it is never written to a disk."""
    port = remote.port or SSH_PORT
    alias = remote.host if port == SSH_PORT else f"[{remote.host}]:{port}"
    hosts = _written(directory / "known_hosts", place.known_hosts.strip() + "\n")
    with _in_memory(place.repository_secret) as key:
        options = {
            "HostName": addresses[0], "HostKeyAlias": alias, "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": hosts, "GlobalKnownHostsFile": "/dev/null", "IdentityFile": key,
            "IdentitiesOnly": "yes", "IdentityAgent": "none", "BatchMode": "yes", "CheckHostIP": "no",
            "PreferredAuthentications": "publickey", "ForwardAgent": "no", "ClearAllForwardings": "yes",
            "ProxyCommand": "none", "PermitLocalCommand": "no", "ControlMaster": "no", "UpdateHostKeys": "no",
            "ConnectTimeout": "5", "ServerAliveInterval": "5", "ServerAliveCountMax": "2", "LogLevel": "ERROR",
        }  # fmt: skip
        command = "ssh -F /dev/null " + " ".join(f"-o {name}={_quoted(value)}" for name, value in options.items())
        address = f"ssh://{remote.user}@{remote.url.removeprefix('ssh://')}"
        yield Way(address, "ssh", {}, {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"})


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "'\\''") + "'"


@contextmanager
def _in_memory(secret: str) -> Iterator[str]:
    """Yield a path under which children of this process read `secret`."""
    descriptor = os.memfd_create("gatehouse", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)  # the client of OpenSSH refuses a key that others may read
        os.write(descriptor, secret.strip().encode() + b"\n")
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _written(path: Path, text: str) -> Path:
    """Return `path` with `text` in it; several workers may write it at once."""
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return path
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as problem:
        raise _unwritable(problem) from problem
    return path


def _unwritable(problem: OSError) -> ClusterError:
    return error("git_failed", detail=f"the directory of the state cannot be written ({problem.strerror})")
