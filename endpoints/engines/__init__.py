"""Model servers as command lines: what a cluster driver starts when a version names an engine.

The words in braces are filled in by the driver that starts the engine; `{python}` is the interpreter of the portal
itself. Flags are those of vLLM 0.33; prompt-token details are switched on because the ledger counts cached tokens
separately.
"""

import re
from collections.abc import Sequence

_HOLE = re.compile(r"\{(python|port|model|host|name|context|concurrency)\}")
_PARALLEL = re.compile(r"(--(tensor|pipeline|data)-parallel-size|-tp|-pp|-dp)(=.*)?")

COMMANDS: dict[str, tuple[str, ...]] = {
    "demo": (
        "{python}",
        "-m",
        "endpoints.engines.demo",
        "--host",
        "{host}",
        "--port",
        "{port}",
        "--model",
        "{model}",
        "--served-model-name",
        "{name}",
        "--max-model-len",
        "{context}",
        "--max-num-seqs",
        "{concurrency}",
    ),
    "vllm": (
        "vllm",
        "serve",
        "{model}",
        "--host",
        "{host}",
        "--port",
        "{port}",
        "--served-model-name",
        "{name}",
        "--max-model-len",
        "{context}",
        "--max-num-seqs",
        "{concurrency}",
        "--enable-prompt-tokens-details",
        "--disable-fastapi-docs",
    ),
}


def filled(command: Sequence[str], **values: str) -> list[str]:
    """Return the command with its holes filled; other braces (JSON in an argument) stay as they are."""
    return [_HOLE.sub(lambda hole: values[hole[1]], part) for part in command]


def additions(engine: str, command: Sequence[str], *, source: str, accelerators: int, resource: str) -> tuple[str, ...]:
    """Return the arguments that follow from the pinned source and the hardware where the command does not say them:
    vLLM takes the newest revision and one accelerator unless it is told.
    """
    if engine != "vllm":
        return ()
    found: tuple[str, ...] = ()
    address, _, revision = source.partition("@")
    told = any(part == "--revision" or part.startswith("--revision=") for part in command)
    if address.startswith("hf://") and revision and not told:
        found += ("--revision", revision)
    if accelerators > 1 and "mig-" not in resource and not any(_PARALLEL.fullmatch(part) for part in command):
        found += ("--tensor-parallel-size", str(accelerators))
    return found
