"""The Git repository of a cluster that others apply: its address, how the portal gets in, checked before it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from endpoints.clusters.gitops import layout, mirror, remote
from endpoints.fleet.credentials import MOST_PEM, MOST_TOKEN, authorities
from endpoints.models import Cluster
from portal import outbound
from portal.errors import Invalid

DRIVER = "gitops"
MOST_HOSTS = 20_000  # characters
FIELDS = ("repository", "repository_secret", "repository_ca", "known_hosts")


@dataclass(frozen=True)
class Repository:
    """What is kept of a repository; `secret` is a private key (OpenSSH or PEM) or a token."""

    url: str = ""
    ca: str = ""
    known_hosts: str = ""
    secret: str = field(default="", repr=False)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a cluster; the secret is kept with its credential."""
        return {"repository": self.url, "repository_ca": self.ca, "known_hosts": self.known_hosts}


def read(given: Mapping[str, str]) -> Repository:
    """Return the repository that the fields describe; raises Invalid naming the field, and never repeats a secret."""
    url, secret, ca, hosts = (str(given.get(name) or "").strip() for name in FIELDS)
    if not url:
        raise Invalid.field(
            "repository", f"The address of the Git repository is missing. Write it like {remote.EXAMPLES}."
        )
    try:
        where = remote.parse(url)
        remote.checked(where)
    except (remote.Unusable, outbound.OutboundRefused) as refusal:
        raise Invalid.field("repository", str(refusal)) from None
    except outbound.OutboundFailed:
        pass  # a name that does not resolve now may later
    if len(ca) > MOST_PEM:
        raise Invalid.field("repository_ca", f"The authority has {len(ca):,} characters; the limit is {MOST_PEM:,}.")
    if ca:
        authorities(ca, field="repository_ca", what="The authority of the repository")
    if where.scheme == "ssh":
        return Repository(url, "", _hosts(hosts), _key(secret))
    if where.scheme == "file":
        return Repository(url)
    if len(secret) > MOST_TOKEN or not all("!" <= char <= "~" for char in secret):
        raise Invalid.field("repository_secret", "The token holds spaces or is too long. Copy it again, in one line.")
    if where.scheme == "http" and secret:
        raise Invalid.field("repository", "A token is sent over https:// alone. Correct the address of the repository.")
    return Repository(url, ca + "\n" if ca else "", "", secret)


def facts(cluster: Cluster) -> dict[str, Any]:
    """Return what an audit row says about the repository of a cluster."""
    return {"repository": cluster.repository} if cluster.repository else {}


def check_alone(cluster: Cluster) -> None:
    """Raise Invalid, naming the field, where another cluster has the same branch and directory: each would take what
    the other commits for an edit by hand, and both clusters would run what is meant for one (one query).
    """
    if cluster.driver != DRIVER:
        return
    others = Cluster.objects.filter(driver=DRIVER).exclude(pk=cluster.pk)
    same = next((one for one in others if _place(one) == _place(cluster)), None)
    if same is not None:
        raise Invalid.field(
            "git_directory",
            f"The cluster {same.slug} has this directory on this branch of the repository. Give each cluster a"
            " directory or a branch of its own.",
        )


def _place(cluster: Cluster) -> tuple[str, ...]:
    names = {"git_branch": mirror.BRANCH, "git_directory": layout.DIRECTORY}
    options = (str(cluster.options.get(name) or usual) for name, usual in names.items())
    return (remote.parse(cluster.repository).url.removesuffix(".git"), *options)


def _hosts(text: str) -> str:
    fix = "Paste what ssh-keyscan prints, after comparing it with what the server's administrators published."
    if not text:
        raise Invalid.field("known_hosts", f"The host keys of the server are missing. {fix}")
    if len(text) > MOST_HOSTS:
        raise Invalid.field("known_hosts", f"The host keys have {len(text):,} characters; the limit is {MOST_HOSTS:,}.")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not all(line.isprintable() and len(line.split()) >= 3 for line in lines):
        raise Invalid.field("known_hosts", f"The host keys are no lines of known_hosts. {fix}")
    return "\n".join(lines) + "\n"


def _key(secret: str) -> str:
    """Return a private key as OpenSSH reads it."""
    fix = "Paste a deploy key without a passphrase, from -----BEGIN to the last line."
    if not secret:
        raise Invalid.field("repository_secret", f"The private key is missing. {fix}")
    if len(secret) > MOST_PEM:
        raise Invalid.field("repository_secret", f"The key has {len(secret):,} characters; the limit is {MOST_PEM:,}.")
    text = "\n".join(line.strip() for line in secret.splitlines()) + "\n"
    try:
        load_ssh_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their words could repeat the key
        raise Invalid.field("repository_secret", f"The private key cannot be read. {fix}") from None
    return text
