"""Rebuild the vendored files under static/gatehouse/ from their npm packages: style sheet, fonts, icon sprite, charts.

    python tools/vendor_static.py             # installs the pinned packages into a scratch directory first
    python tools/vendor_static.py --from DIR  # DIR holds a node_modules with them already

The output is committed, so neither the portal nor its tests need npm. Versions and licences: static/VENDORED.md.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PATTERNFLY = "@patternfly/patternfly"
ICONS = "@patternfly/react-icons"
VERSION = "6.6.1"
UPLOT, UPLOT_VERSION = "uplot", "1.6.32"
# File in the package → our name and the SHA-256 of what it must be: this one is served to browsers as it comes.
UPLOT_FILES = {
    "dist/uPlot.iife.min.js": ("uplot.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
    "dist/uPlot.min.css": ("uplot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    "LICENSE": ("uplot.LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
}
TARGET = Path(__file__).resolve().parent.parent / "static" / "gatehouse"

COMPONENTS = (
    "Alert/alert", "Badge/badge", "Breadcrumb/breadcrumb", "Button/button", "Card/card", "Check/check",
    "CodeBlock/code-block", "DescriptionList/description-list", "EmptyState/empty-state", "Form/form",
    "FormControl/form-control", "HelperText/helper-text", "Label/label", "List/list", "Masthead/masthead",
    "Menu/menu", "MenuToggle/menu-toggle", "Nav/nav", "Page/page", "Pagination/pagination",
    "ProgressStepper/progress-stepper", "Radio/radio", "SkipToContent/skip-to-content", "Table/table",
    "Table/table-grid", "Tabs/tabs", "TextInputGroup/text-input-group", "Title/title", "ToggleGroup/toggle-group",
)  # fmt: skip
# Titles and code each use one weight, where a plain face is a third smaller than the variable one.
FONTS = ("RedHatText/RedHatTextVF", "RedHatDisplay/RedHatDisplay-Medium", "RedHatMono/RedHatMono-Regular")
PLAIN_FACES = {"RedHatDisplayVF": "RedHatDisplay-Medium", "RedHatMonoVF": "RedHatMono-Regular"}

# Our name → the icon in the package. Templates use only the left column.
SPRITE = {
    "access": "rh-ui-users", "approvals": "rh-ui-check-clipboard", "approve": "rh-ui-check-clipboard",
    "asset": "rh-ui-package", "audit": "rh-ui-history", "ban": "rh-ui-ban", "bell": "rh-ui-notification",
    "branch": "rh-ui-branch", "calendar": "rh-ui-calendar", "capacity": "rh-ui-memory", "catalog": "rh-ui-catalog",
    "check": "rh-ui-check", "clock": "rh-ui-clock", "close": "rh-ui-close", "cluster": "rh-ui-cluster",
    "code": "rh-ui-code", "columns": "rh-ui-columns", "compare": "rh-ui-compare", "copy": "rh-ui-copy",
    "degraded": "rh-ui-degraded-fill", "doc": "rh-ui-document", "down": "rh-microns-caret-down",
    "download": "rh-ui-download", "draft": "rh-ui-edit", "drift": "rh-ui-compare", "endpoint": "rh-ui-hub",
    "endpoints": "rh-ui-hub", "err": "rh-ui-error-fill", "expired": "rh-ui-hourglass", "export": "rh-ui-export",
    "ext": "rh-microns-external-link", "filter": "rh-ui-filter", "gateway": "rh-ui-route", "health": "rh-ui-checkup",
    "help": "rh-ui-question-mark-circle", "home": "rh-ui-home", "idea": "rh-ui-insight",
    "info": "rh-ui-information-fill", "kebab": "rh-ui-ellipsis-vertical", "key": "rh-ui-key",
    "left": "rh-microns-caret-left", "licence": "rh-ui-scale-balanced", "lock": "rh-ui-lock-fill",
    "mcp": "rh-ui-mcp-server", "menu": "rh-ui-menu-bars", "model": "rh-ui-ai-model", "none": "rh-ui-minus-circle",
    "ok": "rh-ui-check-circle-fill", "pause": "rh-ui-pause-circle-fill", "pending": "rh-ui-pending",
    "plus": "rh-ui-add", "policy": "rh-ui-scale-balanced", "progress": "rh-ui-in-progress",
    "quarantine": "rh-ui-stop-circle", "refresh": "rh-ui-refresh", "request": "rh-ui-task", "requests": "rh-ui-task",
    "retired": "rh-ui-backup", "right": "rh-microns-caret-right", "rotate": "rh-ui-sync", "save": "rh-ui-bookmark",
    "seal": "rh-ui-fingerprint", "search": "rh-ui-search", "send": "rh-ui-arrow-up", "share": "rh-ui-share-alt",
    "shield": "rh-ui-security", "signed": "rh-ui-secured-fill", "sort": "rh-ui-swap-up-down",
    "sortdesc": "rh-ui-long-arrow-down", "speed": "rh-ui-speedometer", "team": "rh-ui-users",
    "theme": "rh-ui-auto-light-dark-mode", "trash": "rh-ui-trash", "trendup": "rh-ui-trend-up",
    "usage": "rh-ui-monitoring", "user": "rh-ui-profile", "view": "rh-ui-view", "waiver": "rh-ui-government",
    "warn": "rh-ui-warning-fill", "withdrawn": "rh-ui-undo",
}  # fmt: skip

# Two themes that the portal does not offer, and the icon fonts: our icons come from the sprite.
_UNUSED = re.compile(r"(?<!:not\()\.pf-v6-theme-(?:glass|felt)|\.(?:fa[sbrld]?|sr-only|pf-v6-pficon)\b")
_UNUSED_FACE = re.compile(r"italic|Awesome|pficon")


def blocks(css: str) -> Iterator[tuple[str, str | None]]:
    """Yield (prelude, body) for each rule of a comment-free style sheet; the body is None for a statement."""
    start = at = 0
    while at < len(css):
        if css[at] == ";":
            yield css[start:at].strip(), None
            start = at + 1
        elif css[at] == "{":
            prelude, depth, body = css[start:at].strip(), 1, at + 1
            while depth:
                at += 1
                depth += {"{": 1, "}": -1}.get(css[at], 0)
            yield prelude, css[body:at]
            start = at + 1
        at += 1


def selectors(prelude: str) -> list[str]:
    """Split a selector list at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(prelude):
        depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(prelude[start:at])
            start = at + 1
    return [" ".join(part.split()) for part in [*parts, prelude[start:]]]


def squeeze(css: str) -> str:
    """Return `css` one rule a line, without comments and without what the portal does not use."""
    lines = []
    for prelude, body in blocks(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        if body is None:
            lines.append(f"{prelude};")
        elif prelude.startswith(("@media", "@supports", "@container")):
            if inner := squeeze(body).strip():
                lines.append(f"{' '.join(prelude.split())}{{\n{inner}\n}}")
        elif prelude.startswith("@keyframes"):
            if " fa-" in prelude:
                continue
            lines.append(f"{prelude}{{{' '.join(body.split())}}}")
        elif prelude == "@font-face" and _UNUSED_FACE.search(body):
            continue  # the browser slants the upright face: three fonts, not eight
        else:
            kept = [one for one in selectors(prelude) if not _UNUSED.search(one)]
            if kept and body.strip():
                rules = ";".join(
                    " ".join(rule.split()).replace(": ", ":", 1) for rule in body.split(";") if rule.strip()
                )
                lines.append(f"{','.join(kept)}{{{rules}}}")
    return "\n".join(lines) + "\n"


def style_sheet(package: Path) -> str:
    """Return the one style sheet: base, chart colours, components, with the font addresses as they are vendored."""
    names = ["patternfly-base", *(f"components/{name}" for name in COMPONENTS)]
    css = "".join((package / f"{name}.css").read_text(encoding="utf-8") for name in names)
    charts = re.sub(r"/\*.*?\*/", "", (package / "patternfly-charts.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    for prelude, body in blocks(charts):
        # Only the colour tokens; the rest styles a React chart library.
        colours = [rule.strip() for rule in (body or "").split(";") if re.match(r"\s*--pf-t--chart--.*color", rule)]
        if ":root" in prelude and colours:
            css += f"{prelude} {{{';'.join(colours)}}}\n"
    css = re.sub(r'url\("?[./]*assets/fonts/\w+/(\w+\.woff2)"?\)', r'url("fonts/\1")', squeeze(css))
    for variable, plain in PLAIN_FACES.items():
        css = css.replace(f'{variable}.woff2") format("woff2-variations")', f'{plain}.woff2") format("woff2")')
    strangers = [
        one for one in re.findall(r"url\(([^)]*)\)", css) if not one.startswith(('"fonts/', '"data:', "data:"))
    ]
    if strangers:
        raise SystemExit(f"The style sheet asks for files that are not vendored: {', '.join(sorted(set(strangers)))}")
    return f"/* PatternFly {VERSION}, MIT. Built by tools/vendor_static.py: change that, not this. */\n{css}"


def sprite(package: Path) -> str:
    """Return the icons as one SVG of symbols; each path is taken from the package's generated module."""
    symbols = []
    for name, source in sorted(SPRITE.items()):
        text = (package / "dist" / "esm" / "icons" / f"{source}-icon.js").read_text(encoding="utf-8")
        path, width, height = (
            re.search(pattern, text) for pattern in (r'"svgPathData":"([^"]+)"', r'"width":(\d+)', r'"height":(\d+)')
        )
        if not (path and width and height):
            raise SystemExit(f"{source} has another form than this script knows.")
        symbols.append(f'<symbol id="{name}" viewBox="0 0 {width[1]} {height[1]}"><path d="{path[1]}"/></symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def copy_uplot(package: Path) -> None:
    """Copy the chart library; stops when a file is not the one that was looked at."""
    (TARGET / "vendor").mkdir(parents=True, exist_ok=True)
    for source, (name, wanted) in UPLOT_FILES.items():
        content = (package / source).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise SystemExit(f"{source} of {UPLOT} has the SHA-256 {found}; expected is {wanted}.")
        (TARGET / "vendor" / name).write_bytes(content)


def build(modules: Path) -> None:
    """Write everything into static/gatehouse/ from the packages in `modules`."""
    package = modules / PATTERNFLY
    (TARGET / "fonts").mkdir(parents=True, exist_ok=True)
    (TARGET / "patternfly.css").write_text(style_sheet(package), encoding="utf-8")
    (TARGET / "icons.svg").write_text(sprite(modules / ICONS), encoding="utf-8")
    for font in FONTS:
        shutil.copyfile(
            package / "assets" / "fonts" / f"{font}.woff2", TARGET / "fonts" / f"{font.split('/')[1]}.woff2"
        )
    copy_uplot(modules / UPLOT)


def main() -> None:
    """Install the packages unless --from names a node_modules, then build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="modules", type=Path, help="a node_modules directory that holds the packages")
    modules: Path | None = parser.parse_args().modules
    if modules:
        return build(modules)
    with tempfile.TemporaryDirectory() as scratch:
        packages = [f"{PATTERNFLY}@{VERSION}", f"{ICONS}@{VERSION}", f"{UPLOT}@{UPLOT_VERSION}"]
        options = ["--prefix", scratch, "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"]
        command = ["npm", "install", *options, *packages]
        if subprocess.run(command, check=False).returncode:
            sys.exit("npm could not install the packages; pass --from DIR to build from a node_modules you have.")
        build(Path(scratch) / "node_modules")


if __name__ == "__main__":
    main()
