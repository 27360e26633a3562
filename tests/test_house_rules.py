"""Rules of the house that a machine can check: states, audit rows, relations, size, templates."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db.models import ForeignKey, ManyToManyField, OneToOneField

from audit.models import Row
from projects.models import ApiKey, KeyState
from tests.conftest import Org

ROOT = Path(__file__).resolve().parent.parent
APPS = ("audit", "projects", "catalog", "quotas", "endpoints", "approvals", "portal")
ORDER = {name: level for level, name in enumerate(APPS)}
STATE_FIELDS = {"state", "phase", "desired"}
# Written by the machine for the machine, or append-only themselves: no person's decision to remember.
UNAUDITED_MODULES = {
    "audit/services.py",  # writes the rows
    "projects/epoch.py",  # a counter
    "quotas/ingest.py", "quotas/records.py", "quotas/retention.py", "quotas/rollups.py",  # the ledger is its own memory
}  # fmt: skip
UNAUDITED_FUNCTIONS = {
    "approvals/policies/publishing.py:keep",  # files under their digest; who publishes them records it
    "endpoints/alerting.py:prune",  # what monitoring said a month ago
    "endpoints/reconcile.py:claim",  # a lease of 15 s between workers
    "catalog/collecting.py:forget", "catalog/collecting.py:schedule",  # when a worker looks: who wants it recorded that
    # What a look at a cluster found: nobody did it here, and what the portal does about it is recorded.
    "endpoints/differences/keeping.py:write", "endpoints/differences/keeping.py:close",
    "endpoints/differences/keeping.py:prune", "endpoints/rogue/keeping.py:keep", "endpoints/rogue/keeping.py:prune",
    # Telling is an effect of what was audited, and reading is the reader's own business.
    "projects/notify/services.py:tell", "projects/notify/services.py:mark_read",
    "approvals/access/review.py:remind",  # the day of the last reminder
}  # fmt: skip
WRITES = {"create", "bulk_create", "save", "update", "delete", "get_or_create", "update_or_create", "bulk_update"}


# One worker reads the sources, and reads each of them once.
pytestmark = pytest.mark.xdist_group("house rules")


@cache
def sources() -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for app in APPS
        for path in sorted((ROOT / app).rglob("*.py"))
        if "migrations" not in path.parts
    }


@cache
def walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def test_states_change_only_through_move() -> None:
    """`x.state = …` and `.update(state=…)` outside portal/states.py would skip the arrows and the compare-and-set."""
    found = []
    for name, tree in sources().items():
        for node in walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                attributes = {target.attr for target in targets if isinstance(target, ast.Attribute)}
                owners = {
                    target.value.id
                    for target in targets
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)
                }
                if attributes & STATE_FIELDS and owners - {"self"}:
                    found.append(f"{name}:{node.lineno}")
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            written = STATE_FIELDS & {keyword.arg for keyword in node.keywords}
            if node.func.attr == "update" and written and name != "portal/states.py":
                found.append(f"{name}:{node.lineno}")
    assert found == []


@cache
def _called(function: ast.AST) -> set[str]:
    names = set()
    for node in walk(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                names.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                names.add(node.func.attr)
    return names


@cache
def _writes(function: ast.AST) -> bool:
    """Whether a function changes rows: calls `move`, or a write method on a manager or model instance."""
    for node in walk(function):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "move":
            return True
        if isinstance(node.func, ast.Attribute) and node.func.attr in WRITES and node.func.attr != "update":
            text = ast.unparse(node.func.value)
            if node.func.attr in {"save", "delete"} or ".objects" in text:
                return True
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "update"
            and ".objects" in ast.unparse(node.func.value)
        ):
            return True
    return False


def _service_modules() -> Iterator[tuple[str, ast.Module]]:
    for name, tree in sources().items():
        imports = {
            alias.name
            for node in walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("audit")
            for alias in node.names
        }
        drawer = re.search(r"/(services|keys|tokens|people|admission|pools|reconcile)(/|\.py|_)", name)
        if (drawer or "record" in imports) and name not in UNAUDITED_MODULES:
            yield name, tree


def test_every_public_service_that_writes_leaves_an_audit_row() -> None:
    """Walks each service module: a public function that writes, itself or through helpers of its module, must reach
    `record`.
    """
    silent = []
    for name, tree in _service_modules():
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        # Helpers of the module count with the function that calls them, transitively.
        reach = {title: {title} for title in functions}
        for _ in functions:
            for title, node in functions.items():
                reach[title] |= {inner for call in _called(node) & set(functions) for inner in reach[call]}
        for title in functions:
            if title.startswith("_"):
                continue
            bodies = [functions[inner] for inner in reach[title]]
            if any(_writes(body) for body in bodies) and not any(
                {"record", "_record"} & _called(body) for body in bodies
            ):
                silent.append(f"{name}:{title}")
    assert set(silent) - UNAUDITED_FUNCTIONS == set()


@pytest.mark.django_db(transaction=True)
def test_a_state_change_without_a_row_is_noticed(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the rule above guards something: each service that moves a state writes a row in that very
    transaction.
    """
    from projects import keys
    from projects.principal import Principal

    key, _ = keys.issue(Principal.of(org.dana), project=org.fraud, name="k", scopes=["inference:invoke"])
    monkeypatch.setattr(keys, "record", lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("no row")))
    with pytest.raises(RuntimeError, match="no row"):
        keys.revoke(Principal.of(org.dana), key)
    assert ApiKey.objects.get(pk=key.pk).state == KeyState.ACTIVE
    assert connection.in_atomic_block is False
    with transaction.atomic():
        assert not Row.objects.filter(action="keys.revoke").exists()


def test_relations_point_downwards() -> None:
    """A foreign key obeys the arrow of the imports; a reference upwards is (kind, id)."""
    upward = []
    for model in apps.get_models():
        app = model._meta.app_label
        if app not in ORDER:
            continue
        for field in model._meta.get_fields():
            if isinstance(field, ForeignKey | OneToOneField | ManyToManyField):
                target = field.related_model._meta.app_label
                if target in ORDER and ORDER[target] > ORDER[app]:
                    upward.append(f"{app}.{model.__name__}.{field.name} → {target}")
    assert upward == []


def test_audit_has_no_foreign_keys() -> None:
    for model in apps.get_app_config("audit").get_models():
        assert not any(isinstance(field, ForeignKey) for field in model._meta.get_fields())


def test_no_import_inside_a_function() -> None:
    """Except AppConfig.ready, where Django demands it, and manage.py."""
    found = []
    for name, tree in sources().items():
        if name.endswith("apps.py"):
            continue
        for function in walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found += [
                    f"{name}:{node.lineno}" for node in walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
                ]
    assert found == []


def test_public_functions_of_services_have_docstrings() -> None:
    bare = [
        f"{name}:{node.name}"
        for name, tree in sources().items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert bare == []


def test_no_file_outgrows_the_house() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        if "migrations" not in path.parts and (count := len(path.read_text(encoding="utf-8").splitlines())) > 450
    ]
    assert long == []


INLINE = re.compile(r"""<script(?![^>]*\ssrc=)|\sstyle\s*=|<style|\son[a-z]+\s*=\s*["']|javascript:""", re.IGNORECASE)


def test_templates_hold_no_inline_script_style_or_handler() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group(0)}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in INLINE.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_utils_module() -> None:
    assert [path for app in APPS for path in (ROOT / app).rglob("utils*.py")] == []
