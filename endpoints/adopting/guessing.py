"""What a running object says of the model that it serves, as a start for a request: a person looks at it and chooses.
Pure functions; arguments that could hold a secret are never kept.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from endpoints.clusters.explaining.reading import at, line, mapping, number, objects, text

Object = Mapping[str, Any]
MODEL = ("--model", "--model-path", "--model-id", "--hf-repo", "-hf", "--model-name-or-path", "--model_id")
SERVED = ("--served-model-name", "--alias", "--model_name", "--model-name")
CONTEXT = ("--max-model-len", "--context-length", "--ctx-size", "-c", "--max-total-tokens", "--max_model_len")
CALLS = ("--max-num-seqs", "--max-running-requests", "--parallel", "-np", "--max-concurrent-requests")
PORT = ("--port",)
KEY = ("--api-key", "--api_key")
ENVIRONMENT = {
    "model": ("MODEL_ID", "MODEL_NAME", "MODEL", "HF_MODEL_ID", "NIM_MODEL_NAME", "MODEL_PATH"),
    "served": ("SERVED_MODEL_NAME", "NIM_SERVED_MODEL_NAME"),
    "context_tokens": ("MAX_MODEL_LEN", "MAX_TOTAL_TOKENS", "NIM_MAX_MODEL_LEN"),
}
KEYS = ("VLLM_API_KEY", "API_KEY", "SGLANG_API_KEY", "LLAMA_API_KEY")
PORTS = {"ollama": 11434, "sglang": 30000, "tgi": 80, "llama.cpp": 8080, "triton": 8000, "nim": 8000, "vllm": 8000}
PROFILE, PROFILE_SPACE = "opendatahub.io/hardware-profile-name", "opendatahub.io/hardware-profile-namespace"
UNIT = re.compile(r"([0-9]{1,9})([kKmM]?)")
WEIGHT = {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}


def of_container(container: Object, engine: str) -> dict[str, Any]:
    """Return what the container of an engine says of itself: `container engine image model served context_tokens
    concurrency port asks_key`, as far as it does.
    """
    words = _words(container)
    environment = {text(one.get("name")): one for one in objects(container.get("env"))[:200]}

    def of_environment(kind: str) -> str:
        plain = (text(at(environment.get(name), "value")) for name in ENVIRONMENT[kind])
        return next((one for one in plain if one), "")

    model = _option(words, MODEL) or of_environment("model") or _served_by_place(words, engine)
    found = {
        "container": line(container.get("name"), 63), "engine": engine, "image": line(container.get("image"), 300),
        "model": line(model, 300), "served": line(_option(words, SERVED) or of_environment("served"), 120),
        "context_tokens": _size(_option(words, CONTEXT) or of_environment("context_tokens")),
        "concurrency": _size(_option(words, CALLS)), "port": _port(container, words, engine),
        "asks_key": bool(_option(words, KEY)) or any(name in environment for name in KEYS),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def of_owner(found: Object) -> dict[str, Any]:
    """Return what a Deployment or an object of KServe says: `replicas model served profile profile_namespace`."""
    spec = mapping(found.get("spec"))
    predictor = mapping(spec.get("predictor"))
    service = mapping(spec.get("model"))  # of an LLMInferenceService
    replicas = number(spec.get("replicas"))
    if replicas is None and predictor:
        replicas = max(number(predictor.get("minReplicas")) or 1, 1)
    annotations = mapping(at(found, "metadata", "annotations"))
    said = {
        "replicas": replicas,
        "model": line(at(predictor, "model", "storageUri") or service.get("uri"), 300),
        "served": line(service.get("name"), 120),
        "profile": line(annotations.get(PROFILE), 80),
        "profile_namespace": line(annotations.get(PROFILE_SPACE), 63),
    }
    return {name: value for name, value in said.items() if value}


def _words(container: Object) -> list[str]:
    """Return command and arguments word by word; a shell's one long word is taken apart."""
    found: list[str] = []
    for name in ("command", "args"):
        value = container.get(name)
        for one in value[:400] if isinstance(value, list) else ():
            found += one.split()[:400] if isinstance(one, str) and " " in one else [str(one)[:400]]
    return found


def _option(words: Sequence[str], names: Sequence[str]) -> str:
    """Return the value of the first option of `names`: "--name value" or "--name=value"."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            following = words[place + 1] if place + 1 < len(words) else ""
            return (value if equals else following).strip("'\"")
    return ""


def _served_by_place(words: Sequence[str], engine: str) -> str:
    """Return the model of `vllm serve MODEL`."""
    if engine != "vllm" or "serve" not in words:
        return ""
    after = words[words.index("serve") + 1 :]
    return after[0] if after and not after[0].startswith("-") else ""


def _size(value: str) -> int:
    """Return a number of tokens or calls; 32k is 32,000, as the engines read it."""
    found = UNIT.fullmatch(value)
    return int(found[1]) * WEIGHT[found[2]] if found else 0


def _port(container: Object, words: Sequence[str], engine: str) -> int:
    said = number(_option(words, PORT)) or 0
    ports = objects(container.get("ports"))
    named = next((one for one in ports if text(one.get("name")).startswith(("http", "h2c"))), ports[0] if ports else {})
    port = number(named.get("containerPort")) or said or PORTS.get(engine, 0)
    return port if 0 < port < 65_536 else 0
