"""Reading a model card: the sections of its Markdown, lists in them, and tables of evaluations."""

import re
from typing import Any

METRICS = 200  # lines of evaluation tables that are read

_HEADING = re.compile(r"^#{1,6}[ \t]+(\S[^\n]*)$", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+(\S[^\n]*)$", re.MULTILINE)
_RULE = re.compile(r"^:?-+:?$")


def sections(markdown: str) -> dict[str, str]:
    """Return heading → text below it, headings in lower case; of two with the same name the last one."""
    parts = _HEADING.split(markdown)
    names = [heading.rstrip("# \t").strip().lower() for heading in parts[1::2]]
    return {name: text.strip() for name, text in zip(names, parts[2::2], strict=True) if name}


def points(text: str) -> list[str]:
    """Return what a section says: the items of its lists, or its paragraphs where it has none."""
    found = [item.strip() for item in _ITEM.findall(text)]
    if found:
        return found
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def evaluations(markdown: str) -> list[dict[str, str]]:
    """Return the evaluation tables as CycloneDX names their cells: {"type", "value", "slice"?}.

    A table with a column for the value (and perhaps one for the metric) is read by line; in any other one each column
    after the first is a slice.
    """
    found: list[dict[str, str]] = []
    for heading, text in sections(markdown).items():
        if "evaluation" in heading or "benchmark" in heading:
            for head, rows in _tables(text):
                for row in rows:
                    found += _metrics(head, row)
    return found[:METRICS]


def datasets(markdown: str) -> list[str]:
    """Return the data sets that the card names."""
    known = sections(markdown)
    names = [
        point
        for heading in ("training data", "datasets", "data sets", "data")
        for point in points(known.get(heading, ""))
    ]
    return list(dict.fromkeys(name[:300] for name in names))[:50]


def _metrics(head: list[str], row: list[str]) -> list[dict[str, str]]:
    names = [name.lower() for name in head]
    values = [place for place, name in enumerate(names) if name in {"value", "score", "result"}]
    if not row[0]:
        return []
    if not values:
        return [{"type": row[0], "value": row[at], "slice": head[at]} for at in range(1, len(row)) if row[at]]
    value, metric = row[values[0]], row[names.index("metric")] if "metric" in names else ""
    made = {"type": metric, "value": value, "slice": row[0]} if metric else {"type": row[0], "value": value}
    return [made] if value else []


def _tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Return the tables of Markdown as head and rows of equal width."""
    lines = [_cells(line) for line in text.splitlines()]
    found: list[tuple[list[str], list[list[str]]]] = []
    for at in range(1, len(lines)):
        head, rule = lines[at - 1], lines[at]
        if len(head) < 2 or len(rule) != len(head) or not all(_RULE.match(cell) for cell in rule):
            continue
        rows: list[list[str]] = []
        for row in lines[at + 1 :]:
            if not row:
                break
            rows.append((row + [""] * len(head))[: len(head)])
        found.append((head, rows))
    return found


def _cells(line: str) -> list[str]:
    line = line.strip()
    return [cell.strip().strip("*`") for cell in line.strip("|").split("|")] if "|" in line else []


def model_card(version: Any) -> dict[str, Any]:
    """Return the card of a version of a model in the shape of CycloneDX's `modelCard`."""
    asset, text = version.asset, version.asset.description
    known, config = sections(text), version.facts.get("config", {})
    embedding = bool(version.needs.get("embedding"))
    parameters: dict[str, Any] = {
        "task": asset.tasks[0] if asset.tasks else "",
        "architectureFamily": _word(config.get("model_type")),
        "modelArchitecture": _word(config.get("architecture")),
        "datasets": [{"type": "dataset", "name": name} for name in datasets(text)],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "vector" if embedding else "text"}],
    }
    considerations: dict[str, Any] = {
        "users": points(known.get("intended users", "")),
        "useCases": points(known.get("intended use", "")),
        "technicalLimitations": points(known.get("limitations", "")),
        "performanceTradeoffs": points(known.get("performance trade-offs", "")),
        "ethicalConsiderations": [{"name": point} for point in points(known.get("ethical considerations", ""))],
    }
    properties = [("gatehouse:task", task) for task in asset.tasks]
    properties += [("gatehouse:language", language) for language in asset.languages]
    properties += [(f"gatehouse:section:{name}", body) for name, body in sorted(known.items()) if body]
    card: dict[str, Any] = {
        "bom-ref": f"card:{asset.slug}@{version.version}",
        "modelParameters": _filled(parameters),
        "quantitativeAnalysis": _filled({"performanceMetrics": evaluations(text)}),
        "considerations": _filled({name: _once(value) for name, value in considerations.items()}),
        "properties": [{"name": name, "value": value} for name, value in properties],
    }
    return _filled(card)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _once(values: list[Any]) -> list[Any]:
    return [value for at, value in enumerate(values) if value not in values[:at]]


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
