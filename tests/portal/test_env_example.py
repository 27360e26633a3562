"""`.env.example` lists all variables that the portal reads, and none that it does not."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = ("approvals", "audit", "catalog", "endpoints", "portal", "projects", "quotas")
READ = re.compile(r"env\.(?:text|flag|number|choice|words|targets)\(\s*\"([A-Z_]+)\"")


def listed() -> set[str]:
    return set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))


def used() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for app in APPS for path in (ROOT / app).rglob("*.py")]
    return {name for source in sources for name in READ.findall(source)} | {"GATEHOUSE_STATE_DIR"}


def test_every_variable_that_is_read_is_listed():
    assert sorted(used() - listed()) == []


def test_no_listed_variable_is_without_effect():
    for_tests = {"GATEHOUSE_TEST_POSTGRES", "GATEHOUSE_TEST_CHROMIUM", "GATEHOUSE_TEST_KEYCLOAK", "REQUIRE_ALL"}
    assert sorted(listed() - used() - for_tests) == []
