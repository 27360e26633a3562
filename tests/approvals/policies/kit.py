"""Bundles for tests: files with one rule, stage or envelope, and what publishes them."""

from collections.abc import Mapping

from approvals.models import Publication
from approvals.policies import publishing
from projects.principal import Principal
from tests.conftest import Org

HEAD = {"bundle.yaml": "name: Rules of the tests\n"}


def rule(name: str = "life-900", *, days: int = 90, severity: str = "warn", red: bool = False) -> dict[str, str]:
    """A rule on the days of a request. `red`: with a test more, which fails."""
    text = f"""id: {name}
title: End date within {days} days
severity: {severity}
applies_to: request
expression: request.days <= {days}
message: "The end date is in {{request.days}} days."
fix: Choose a nearer end date.
controls: {{OSPS Baseline: [OSPS-QA-01]}}
tests:
  - {{name: soon, given: {{request: {{days: 1}}}}, expect: pass}}
  - {{name: late, given: {{request: {{days: {days + 1}}}}}, expect: fail}}
"""
    wrong = "  - {name: wrong, given: {request: {days: 1}}, expect: fail}\n" if red else ""
    return {f"rules/{name}.yaml": text + wrong}


def stage(name: str = "leads", *, when: str = 'request.environment == "prod"') -> dict[str, str]:
    """A stage of governance leads."""
    text = f"""id: {name}
name: Governance
when: {when}
reason: Production is decided by governance.
roles: [governance-leads]
tests:
  - {{name: prod, given: {{request: {{environment: prod}}}}, expect: yes}}
  - {{name: dev, given: {{request: {{environment: dev}}}}, expect: no}}
"""
    return {f"stages/{name}.yaml": text.replace("expect: yes", 'expect: "yes"').replace("expect: no", 'expect: "no"')}


def bundle(*parts: Mapping[str, str]) -> dict[str, str]:
    """The files of a bundle with `parts`, or with one rule."""
    files = dict(HEAD)
    for part in parts or (rule(),):
        files |= part
    return files


def publish(org: Org, *parts: Mapping[str, str], reason: str = "For a test.") -> Publication:
    """Let yasmine publish a bundle."""
    return publishing.publish(Principal.of(org.yasmine), bundle(*parts), reason=reason)
