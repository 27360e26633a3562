"""JSON as every parser reads it: no key twice, no number that one of them rounds to something else."""

import json
from typing import Any

from catalog.probes.findings import Stop, shown


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Stop(f"the key “{shown(twice)}” stands there twice: parsers do not agree which one counts")
    return made


def loads(raw: bytes) -> Any:
    """Return the value of a UTF-8 document. Raises Stop."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_pairs)
    except UnicodeDecodeError as error:
        raise Stop(f"it is not UTF-8 (byte {error.start:,})") from error
    except RecursionError as error:
        raise Stop("its JSON is nested too deeply") from error
    except ValueError as error:
        raise Stop(f"it is not JSON: {str(error)[:120]}") from error
