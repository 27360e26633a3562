"""All that can be said about a cluster: one row for each case, and how a row becomes an explanation.

The rows stand in `words_*.py`. docs/troubleshooting-clusters.md is written from them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from endpoints.clusters import ClusterError, Turn
from endpoints.clusters.explaining.reading import clip
from endpoints.clusters.explaining.seen import LIMIT, Explanation
from endpoints.clusters.explaining.words_api import API
from endpoints.clusters.explaining.words_cluster import CLUSTER
from endpoints.clusters.explaining.words_driver import DRIVER
from endpoints.clusters.explaining.words_engine import ENGINE
from endpoints.clusters.explaining.words_kserve import KSERVE

WORD = 160  # characters of one value in a sentence


@dataclass(frozen=True)
class Case:
    """What is said in one situation: where it is read, what happened, and what to do; both with holes in braces."""

    code: str
    turn: Turn
    failed: bool
    where: str
    what: str
    fix: str


def _rows(rows: Iterable[tuple[str, Turn, bool, str, str, str]]) -> dict[str, Case]:
    return {row[0]: Case(*row) for row in rows}


GROUPS: dict[str, dict[str, Case]] = {
    "Admission, quota and placement": _rows(CLUSTER),
    "Image, container and engine": _rows(ENGINE),
    "KServe": _rows(KSERVE),
    "Answers of the API server": _rows(API),
}
CASES = {code: case for group in GROUPS.values() for code, case in group.items()}
REFUSALS = _rows(DRIVER)  # what a driver says before a cluster has said anything


class _Words(dict[str, str]):
    """Values for the holes of a sentence; what nobody knew is said so."""

    def __missing__(self, key: str) -> str:
        return "unknown"


def say(code: str, *, tried: str = "", **words: object) -> Explanation:
    """Return the explanation of a case with its holes filled in."""
    case = CASES.get(code) or REFUSALS[code]
    values = _Words({key: clip(str(value), WORD).rstrip(" .:;,") for key, value in words.items()})
    fix = case.fix.format_map(values)
    parts = (case.what.format_map(values), tried, fix)
    sentence = clip(" ".join(part for part in parts if part).replace("….", "…"), LIMIT)
    return Explanation(code, sentence, case.turn, case.failed, tried, clip(fix, LIMIT))


def refused(code: str, **words: str) -> ClusterError:
    """Return the error of a driver that cannot do what is asked, with the holes of its case filled in; what stays so is
    not tried again.
    """
    told = say(code, tried="", **words)
    return ClusterError(told.code, told.sentence, told.turn, retry=not told.failed, next=told.next)
