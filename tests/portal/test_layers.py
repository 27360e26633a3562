"""The import contract in pyproject.toml knows every module of `portal`, so none can slip past it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def listed() -> set[str]:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    names = {name.strip(" ()") for layer in contract["layers"] for name in layer.split(":")}
    return {name.removeprefix("portal.") for name in names if name.startswith("portal.")}


def test_every_module_of_portal_is_lid_or_floor():
    folder = ROOT / "portal"
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert sorted(modules - {"__init__"} - listed()) == []


def test_portal_itself_stays_empty():
    assert (ROOT / "portal" / "__init__.py").read_text(encoding="utf-8").strip() == ""
