"""Reading a kubeconfig that somebody pasted: server, authority and credential of its current context.

It is a program's configuration from a stranger, so nothing in it is obeyed: it runs no programs, reads no files,
follows no proxies, and switches off no check. What asks for that is refused with what to paste instead.
"""

import base64
import binascii
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from endpoints.fleet.credentials import Credential
from portal.errors import Invalid

MOST_BYTES = 64 * 1024
DEPTH = 12
FIELD = "kubeconfig"
FLATTEN = "Paste what `kubectl config view --raw --flatten --minify` prints."
ACCOUNT = "Use the token of a ServiceAccount instead."
# What stands in a user or cluster and would make the portal do something: why it is refused, and what to do.
REFUSED_OF_USERS: Mapping[str, str] = {
    "exec": f"signs in by running a program (exec), and the portal runs none. {ACCOUNT}",
    "auth-provider": f"signs in through a plugin (auth-provider), and the portal has none. {ACCOUNT}",
    "tokenFile": f"names a file (tokenFile) that only your machine has. {FLATTEN}",
    "client-certificate": f"names a file (client-certificate) that only your machine has. {FLATTEN}",
    "client-key": f"names a file (client-key) that only your machine has. {FLATTEN}",
    "username": f"signs in with a password, which Kubernetes does not take any more. {ACCOUNT}",
    "password": f"signs in with a password, which Kubernetes does not take any more. {ACCOUNT}",
    "as": f"acts for somebody else (as). {ACCOUNT}",
    "as-uid": f"acts for somebody else (as-uid). {ACCOUNT}",
    "as-groups": f"acts for somebody else (as-groups). {ACCOUNT}",
    "as-user-extra": f"acts for somebody else (as-user-extra). {ACCOUNT}",
}
REFUSED_OF_CLUSTERS: Mapping[str, str] = {
    "certificate-authority": f"names a file (certificate-authority) that only your machine has. {FLATTEN}",
    "proxy-url": "goes through a proxy (proxy-url), which the portal does not use. Give an address that it reaches.",
    "tls-server-name": "wants its certificate checked against another name (tls-server-name). Use the name that the"
    " certificate carries as the server's address.",
}
UNCHECKED = (
    "switches off the check of the certificate (insecure-skip-tls-verify): anybody in between could read the token."
    " Take that line out and add certificate-authority-data."
)


@dataclass(frozen=True)
class Found:
    """What a kubeconfig says; `ca` is PEM, "" where it names none."""

    server: str
    ca: str
    credential: Credential


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases, without duplicate keys, and with bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.nodes.Node | None, index: int) -> yaml.nodes.Node | None:
        """Refuse aliases, and nesting deeper than any kubeconfig."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases")
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.YAMLError("depth")
        node: yaml.nodes.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.nodes.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice: which one counts would be a guess."""
        keys = [item.value for item, _ in node.value if isinstance(item, yaml.nodes.ScalarNode)]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError("twice")
        return super().construct_mapping(node, deep)


# A tag that the safe loader does not know, or a value that is none of its type (a date of month 13), is an error.
_SAID = {
    "aliases": "It uses anchors and aliases (& and *), which are not read. Write the values out.",
    "depth": f"It nests deeper than {DEPTH} levels, as no kubeconfig does. Paste another one.",
    "twice": "A name stands twice in one place. Take one of them out.",
}


def read(text: str) -> Found:
    """Return what the current context of the kubeconfig `text` (at most MOST_BYTES bytes) says.

    Raises Invalid for the field `kubeconfig`. Its sentences repeat names of contexts, clusters and users, and nothing
    that could be secret.
    """
    document = _document(text)
    context = _context(document)
    server, ca = _cluster(_entry(document, "clusters", "cluster", context.get("cluster")), str(context.get("cluster")))
    user = _entry(document, "users", "user", context.get("user"))
    return Found(server, ca, _credential(user, str(context.get("user"))))


def _wrong(sentence: str) -> Invalid:
    return Invalid.field(FIELD, sentence)


def _document(text: str) -> Mapping[str, Any]:
    size = len(text.encode("utf-8", "replace"))
    if size > MOST_BYTES:
        raise _wrong(f"The kubeconfig has {size:,} bytes; the limit is {MOST_BYTES:,}. {FLATTEN}")
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise _wrong(_SAID.get(str(error), f"The kubeconfig cannot be read as plain YAML{where}. {FLATTEN}")) from None
    if not isinstance(document, dict) or document.get("kind") != "Config":
        raise _wrong(f"This is no kubeconfig: it lacks “kind: Config”. {FLATTEN}")
    return document


def _named(document: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    rows = document.get(part) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _wrong(f"{part} must be a list of names and values. {FLATTEN}")
    return rows


def _entry(document: Mapping[str, Any], part: str, inner: str, name: object) -> Mapping[str, Any]:
    """Return what `part` holds under `name`."""
    found = [row.get(inner) for row in _named(document, part) if row.get("name") == name]
    if not name or len(found) != 1 or not isinstance(found[0], dict):
        count = "none" if not found else "no usable one" if len(found) == 1 else "several"
        raise _wrong(f"The context names the {inner} {_short(name)}, and {part} holds {count} of that name. {FLATTEN}")
    return found[0]


def _context(document: Mapping[str, Any]) -> Mapping[str, Any]:
    contexts, wanted = _named(document, "contexts"), document.get("current-context")
    if not wanted and len(contexts) == 1:
        wanted = contexts[0].get("name")
    if not wanted:
        raise _wrong("It has no current context. Choose one with `kubectl config use-context`, then paste it again.")
    return _entry(document, "contexts", "context", wanted)


def _refuse(values: Mapping[str, Any], refused: Mapping[str, str], what: str) -> None:
    for name, sentence in refused.items():
        if values.get(name):
            raise _wrong(f"{what} {sentence}")


def _cluster(values: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return server and authority."""
    what = f"The cluster {_short(name)}"
    _refuse(values, REFUSED_OF_CLUSTERS, what)
    if values.get("insecure-skip-tls-verify"):
        raise _wrong(f"{what} {UNCHECKED}")
    server = values.get("server")
    if not isinstance(server, str) or not server:
        raise _wrong(f"{what} has no server. {FLATTEN}")
    return server, _data(values, "certificate-authority-data", what)


def _credential(values: Mapping[str, Any], name: str) -> Credential:
    what = f"The user {_short(name)}"
    _refuse(values, REFUSED_OF_USERS, what)
    token = values.get("token") or ""
    if not isinstance(token, str):
        raise _wrong(f"{what} has a token that is no text. Put it in quotation marks.")
    certificate, key = _data(values, "client-certificate-data", what), _data(values, "client-key-data", what)
    if token:  # it goes before a certificate, as kubectl has it
        return Credential(token=token)
    if bool(certificate) != bool(key):
        raise _wrong(f"{what} has only one of client-certificate-data and client-key-data. {FLATTEN}")
    if not certificate:
        raise _wrong(f"{what} has neither a token nor a client certificate. {ACCOUNT}")
    return Credential(certificate=certificate, key=key)


def _data(values: Mapping[str, Any], name: str, what: str) -> str:
    """Return the text under `name`, which kubeconfigs keep in base64."""
    value = values.get(name)
    if not value:
        return ""
    try:
        return base64.b64decode(str(value).encode("ascii"), validate=True).decode("ascii")
    except (binascii.Error, ValueError):  # the second one: not ASCII
        raise _wrong(f"{what} has {name} that is no base64 of a PEM text. {FLATTEN}") from None


def _short(name: object) -> str:
    text = "".join(char for char in str(name or "")[:40] if char.isprintable())
    return f"“{text}”"
