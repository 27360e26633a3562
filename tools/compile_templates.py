"""Compiles every template of the portal, so that a wrong tag is found before a person opens the page."""

import os
import sys
from pathlib import Path

import django
from django.template import TemplateSyntaxError
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Compile all of templates/; print what does not compile; return the exit code."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    folder = ROOT / "templates"
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in {".html", ".txt", ".xml"}
    )
    failures = 0
    for name in names:
        try:
            get_template(name)
        except TemplateSyntaxError as error:
            failures += 1
            print(f"templates/{name}: {error}")
    print(f"{len(names)} templates compiled, {failures} failed")
    return 1 if failures or not names else 0


if __name__ == "__main__":
    sys.exit(main())
