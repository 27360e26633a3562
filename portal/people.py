"""The demo people: shown on the sign-in page of the demo and created by `load_demo`."""

from typing import TypedDict

from projects.models import AUDITORS, GOVERNANCE_LEADS, PLATFORM_ENGINEERS


class DemoPerson(TypedDict):
    """One demo sign-in."""

    username: str
    name: str
    title: str
    groups: list[str]


DEMO_PEOPLE: list[DemoPerson] = [
    {"username": "dana", "name": "Dana Okafor", "title": "data scientist", "groups": []},
    {"username": "pat", "name": "Pat Lindqvist", "title": "platform engineer", "groups": [PLATFORM_ENGINEERS]},
    {"username": "yasmine", "name": "Yasmine Haddad", "title": "governance lead", "groups": [GOVERNANCE_LEADS]},
    {"username": "ravi", "name": "Ravi Menon", "title": "cloud platform admin", "groups": [PLATFORM_ENGINEERS]},
    {"username": "omar", "name": "Omar Castillo", "title": "project owner", "groups": []},
    {"username": "aud", "name": "Aud Bergström", "title": "auditor", "groups": [AUDITORS]},
]
