"""docs/troubleshooting-clusters.md, written from the cases of the explainer and one example of each."""

from pathlib import Path

from endpoints.clusters.explaining.cases import GROUPS
from tests.endpoints.explaining_examples import EXAMPLES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting-clusters.md"
TURNS = {"platform": "platform engineers", "you": "the owner", "nobody": "nobody"}
HEAD = """\
# What the portal says about a cluster, and why

An endpoint's page tells one sentence, whose turn it is, and what to do. The sentence comes from what the cluster's API
says at that moment: conditions, events, states of pods and containers, quota, refusals. Causes win over symptoms: when
a quota is used up, that is told, not that a deadline has passed. What an engine prints is cut to one line, and
tokens in it are left out.

*Stays*: nothing ends it but a change by somebody; everything else can go on by itself. `code` is the `reason.code` of
the endpoint in the API; during a rollout `rollout_` stands before it.

How an endpoint works: [endpoints.md](endpoints.md). This page is written from the code by

    ./manage.py shell -c "from tests.endpoints import explaining_document; explaining_document.write()"

and a test compares it with what the portal says today.
"""


def document() -> str:
    """Return docs/troubleshooting-clusters.md."""
    lines = [HEAD]
    for title, cases in GROUPS.items():
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
    found = next(one for one in EXAMPLES if one.code == code).explained()
    return found.sentence if found is not None else ""


def write() -> None:
    """Write docs/troubleshooting-clusters.md."""
    DOCUMENT.write_text(document(), encoding="utf-8")
