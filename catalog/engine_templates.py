"""How an engine is started when a person proposes a model and does not write the command themselves."""

from typing import Any

ENGINES = {"vllm": "vLLM", "llama.cpp": "llama.cpp server", "demo": "Demo engine, for trying the portal"}
DEMO_ENGINE = ["{python}", "-m", "endpoints.engines.demo"]
_ADDRESS = ["--host", "{host}", "--port", "{port}"]


def runtime(engine: str, model: str, *, image: str = "", revision: str = "") -> dict[str, Any]:
    """Return the runtime of a version for one of ENGINES; `revision` is the pinned commit of a hub, "" for none.

    Raises LookupError for another engine.
    """
    if engine not in ENGINES:
        raise LookupError(engine)
    label = "llama-cpp" if engine == "llama.cpp" else engine
    made: dict[str, Any] = {"engine": label, "model": model, "image": image, "command": _command(engine, revision)}
    if engine == "demo":
        return made | {"demo": True}
    return made | {"start_timeout_seconds": 1800}


def _command(engine: str, revision: str) -> list[str]:
    """Return the arguments; placeholders are filled in by the cluster driver."""
    if engine == "demo":
        return [
            *DEMO_ENGINE, *_ADDRESS, "--model", "{model}", "--served-model-name",
            "{name}", "--max-model-len", "{context}",
        ]  # fmt: skip
    if engine == "llama.cpp":
        return [
            "llama-server", "--model", "{model}", *_ADDRESS, "--alias", "{name}", "--ctx-size", "{context}",
            "--parallel", "{concurrency}",
        ]  # fmt: skip
    pinned = ["--revision", revision] if revision else []
    return [
        "vllm", "serve", "{model}", *pinned, *_ADDRESS, "--served-model-name", "{name}", "--max-model-len", "{context}",
        "--max-num-seqs", "{concurrency}", "--load-format", "safetensors",
    ]  # fmt: skip
