"""What a connection test finds: named checks, each with a verdict, one sentence and what would mend it.

Nothing here needs Django or names a client; whatever examines a cluster answers with these.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["pass", "warn", "fail", "skip"]  # skip: not asked, since something before it failed or time ran out
SECONDS = 5.0  # for the whole test
# Titles in the order of the page.
TITLES = {
    "reachable": "The API answers",
    "certificate": "Its certificate holds",
    "credential": "The credential is taken",
    "version": "The version is new enough",
    "repository": "The Git repository answers",
    "repository_push": "The portal may push to it",
    "applier": "What applies it is there",
    "permissions": "The account may do what the driver does",
    "kserve": "KServe is installed",
    "admission": "It refuses what was not approved",
    "accelerators": "Nodes offer accelerators",
    "metrics": "Metrics are served",
}


@dataclass(frozen=True)
class Check:
    """One finding. `name` is a key of TITLES; of `permissions` there is one for each verb, which `what` names. `state`
    is what programs read of it: of `credential` the user name, of `admission` what the cluster does.
    """

    name: str
    verdict: Verdict
    sentence: str
    fix: str = ""
    what: str = ""
    state: str = ""

    @property
    def title(self) -> str:
        """What the page calls it."""
        return self.what or TITLES[self.name]

    def as_json(self) -> dict[str, Any]:
        """Return it as the row keeps it."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """All findings of one test. `seen`: whether the API answered at all."""

    checks: tuple[Check, ...]
    version: str = ""
    seen: bool = False

    @property
    def problem(self) -> Check | None:
        """The first thing that failed."""
        return next((check for check in self.checks if check.verdict == "fail"), None)
