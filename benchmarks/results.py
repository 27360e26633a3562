"""The form of a result, and how results are shown and kept."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One comparison: medians over paired rounds. `ratio` is measured / reference."""

    name: str
    unit: str
    reference: float
    measured: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """measured / reference."""
        return self.measured / self.reference if self.reference else float("nan")


def table(results: Sequence[Result]) -> str:
    """Return the results as an aligned table."""
    rows = [("", "unit", "reference", "measured", "ratio")]
    rows += [(r.name, r.unit, f"{r.reference:,.3g}", f"{r.measured:,.3g}", f"{r.ratio:.3f}") for r in results]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *dict.fromkeys(f"  {r.note}" for r in results if r.note)])


def keep(path: Path, benches: Mapping[str, Sequence[Result]]) -> None:
    """Write the results as JSON to `path`."""
    document = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "benches": {
            name: [asdict(result) | {"ratio": round(result.ratio, 4)} for result in results]
            for name, results in benches.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
