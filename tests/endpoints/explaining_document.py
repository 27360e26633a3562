"""docs/troubleshooting-clusters.md, written from the cases of the explainer and one example of each, and
docs/failures.md with their pictures.
"""

from collections.abc import Iterator
from pathlib import Path

from endpoints.clusters.explaining.cases import GROUPS, REFUSALS
from tests.endpoints.explaining_examples import EXAMPLES
from tests.endpoints.refusal_examples import WORDS, example

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = DOCS / "troubleshooting-clusters.md"
ALBUM, PICTURES = DOCS / "failures.md", DOCS / "screens" / "failures"
ON_A_PICTURE = 6
OWN = "What drivers say by themselves"  # the title of what needs no cluster
TURNS = {"platform": "platform engineers", "you": "the owner", "nobody": "nobody"}
HEAD = """\
# What the portal says about a cluster, and why

An endpoint's page tells one sentence, whose turn it is, and what to do. The sentence comes from what the cluster's API
says at that moment: conditions, events, states of pods and containers, quota, refusals. Causes win over symptoms: when
a quota is used up, that is told, not that a deadline has passed. What an engine prints is cut to one line, and
tokens in it are left out.

*Stays*: nothing ends it but a change by somebody; everything else can go on by itself. `code` is the `reason.code` of
the endpoint in the API; during a rollout `rollout_` stands before it.

Where somebody has to act, the page says it in parts: what happened, whose turn it is, what to do, what was tried, what
happens by itself. Where nobody has to, it is one line below the steps. That is also so while the endpoint answers
calls: a cluster that cannot be asked says nothing about its engines, and what answered goes on. *Events* adds what the
cluster wrote down itself, and *Logs* the output of each replica, of this run and of the one before.

How an endpoint works: [endpoints.md](endpoints.md). How each case looks: [pictures of all of them](failures.md).
This page is written from the code by

    ./manage.py shell -c "from tests.endpoints import explaining_document; explaining_document.write()"

and a test compares it with what the portal says today.
"""

ALBUM_HEAD = """\
# Every failure of a cluster, as the endpoint's page shows it

What each means and where it is read: [troubleshooting-clusters.md](troubleshooting-clusters.md). The pictures are made
of recorded objects, through driver, reconciler and page, by

    python -m tools.failure_screens

Codes of cases in which nothing is wrong stand here, too: they are a line below the steps.
"""


def document() -> str:
    """Return docs/troubleshooting-clusters.md."""
    lines = [HEAD]
    for title, cases in (GROUPS | {OWN: REFUSALS}).items():
        lines += [
            f"## {title}",
            "",
            "| code | for example | turn | stays | read from |",
            "| --- | --- | --- | --- | --- |",
        ]
        for code, case in cases.items():
            cells = (f"`{code}`", _said(code), TURNS[case.turn], "yes" if case.failed else "", case.where)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _said(code: str) -> str:
    if code in WORDS:
        return example(code).sentence
    found = next(one for one in EXAMPLES if one.code == code).explained()
    return found.sentence if found is not None else ""


def sheets() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name of each picture, its group, and the codes on it."""
    for group, cases in GROUPS.items():
        codes = list(cases)
        for begin in range(0, len(codes), ON_A_PICTURE):
            name = f"{group.split()[0].strip(',').lower()}-{begin // ON_A_PICTURE + 1}"
            yield name, group, codes[begin : begin + ON_A_PICTURE]


def album() -> str:
    """Return docs/failures.md."""
    lines, last = [ALBUM_HEAD], ""
    for name, group, codes in sheets():
        lines += [f"## {group}", ""] if group != last else []
        lines += [
            f"{', '.join(f'`{code}`' for code in codes)}",
            "",
            f"![{', '.join(codes)}](screens/failures/{name}.png)",
            "",
        ]
        last = group
    lines += [f"## {OWN}", "", f"{', '.join(f'`{code}`' for code in REFUSALS)}", ""]
    lines += ["Not pictured: no object of a cluster stands behind them.", ""]
    return "\n".join(lines)


def write() -> None:
    """Write both pages; the pictures are made by tools/failure_screens.py."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    ALBUM.write_text(album(), encoding="utf-8")
