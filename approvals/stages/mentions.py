"""People who are named in a comment as @name. Whoever may not see the request is not told, and nobody learns of it."""

import re
from collections.abc import Iterable

from approvals.models import Request
from approvals.stages import reading
from projects.models import User
from projects.principal import Principal

NAME = re.compile(r"(?<![\w@./+-])@([\w.+-]{1,150})")
MOST = 10  # names of one comment that are looked at


def names(text: str) -> list[str]:
    """Return the names that a text mentions, each once, in order; a full stop behind a name is none of it."""
    found = (match.rstrip(".-+") for match in NAME.findall(text))
    return list(dict.fromkeys(name for name in found if name))[:MOST]


def mentioned(request: Request, text: str, author: User) -> list[User]:
    """Return whom a comment mentions: active people other than its author who may see the request."""
    people = User.objects.filter(username__in=names(text), is_active=True, is_service=False).exclude(pk=author.pk)
    return [one for one in people if reading.find(Principal.of(one), request.pk)]


def parts(text: str, people: Iterable[str]) -> list[tuple[str, str]]:
    """Return a text in pieces: (words, "") and (@name, name) for each of `people` that it mentions."""
    known, pieces, last = frozenset(people), list[tuple[str, str]](), 0
    for match in NAME.finditer(text):
        name = match.group(1).rstrip(".-+")
        if name in known:
            end = match.start() + 1 + len(name)
            pieces += [(text[last : match.start()], ""), (text[match.start() : end], name)]
            last = end
    return [piece for piece in [*pieces, (text[last:], "")] if piece[0]]
