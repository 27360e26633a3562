"""Model servers as command lines: what a cluster driver starts when a version names an engine.

The words in braces are filled in by the driver that starts the engine; `{python}` is the interpreter of the portal
itself. Flags are those of vLLM 0.33; prompt-token details are switched on because the ledger counts cached tokens
separately.
"""

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
