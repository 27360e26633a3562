"""Known inference images: a table from the name of a repository to the engine. Pure functions.

The registry does not matter, nor what a mirror puts before the name: people pull the same image from many places.
"""

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Known:
    """One family of images: `engine` is the word of the catalog's runtimes where it has one, `name` for people.
    `pattern` is matched with the end of the repository's path, each part of it whole.
    """

    engine: str
    name: str
    pattern: re.Pattern[str]


def _known(engine: str, name: str, *patterns: str) -> Known:
    return Known(engine, name, re.compile(rf"(?:^|/)(?:{'|'.join(patterns)})$"))


# In this order: the first that fits.
KNOWN = (
    _known("vllm", "vLLM", r"vllm", r"vllm-(?:openai|cpu|rocm|cuda|gaudi|tpu|xpu|spyre|neuron)[a-z0-9._-]*",
           r"(?:odh|rhaiis|rhoai)-vllm[a-z0-9._-]*", r"llm-d(?:-(?:cuda|rocm|xpu|cpu))?", r"vllmserver"),
    _known("tgi", "Text Generation Inference", r"text-generation-inference[a-z0-9._-]*", r"tgi-gaudi", r"tgi",
           r"[a-z0-9._-]*caikit-tgis[a-z0-9._-]*", r"text-generation-server"),
    _known("sglang", "SGLang", r"sglang[a-z0-9._-]*"),
    _known("llama.cpp", "llama.cpp", r"llama\.cpp(?:/[a-z0-9._-]+)?", r"llama-cpp[a-z0-9._-]*", r"llama-server"),
    _known("nim", "NVIDIA NIM", r"nim/(?:[a-z0-9._-]+/)?[a-z0-9._-]+"),
    _known("triton", "Triton Inference Server", r"tritonserver[a-z0-9._-]*", r"triton-inference-server"),
    _known("ollama", "Ollama", r"ollama"),
    _known("tensorrt-llm", "TensorRT-LLM", r"tensorrt[-_]llm[a-z0-9._-]*", r"trtllm[a-z0-9._-]*"),
    _known("tei", "Text Embeddings Inference", r"text-embeddings-inference[a-z0-9._-]*"),
    _known("infinity", "Infinity", r"michaelf34/infinity"),
    _known("localai", "LocalAI", r"local-?ai"),
    _known("lmdeploy", "LMDeploy", r"lmdeploy"),
    _known("aphrodite", "Aphrodite", r"aphrodite(?:-engine|-openai)?"),
    _known("openvino", "OpenVINO Model Server", r"openvino/model_server[a-z0-9._-]*",
           r"[a-z0-9._-]*openvino-model-server[a-z0-9._-]*"),
    _known("kserve", "KServe runtime", r"huggingfaceserver[a-z0-9._-]*",
           r"kserve/(?:sklearn|xgb|lgb|paddle|pmml|art|custom-model)server[a-z0-9._-]*"),
    _known("mlserver", "MLServer", r"mlserver[a-z0-9._-]*"),
    _known("torchserve", "TorchServe", r"torchserve[a-z0-9._-]*"),
    _known("tf-serving", "TensorFlow Serving", r"tensorflow/serving[a-z0-9._-]*", r"tensorflow-serving[a-z0-9._-]*"),
    _known("ray", "Ray Serve LLM", r"ray-llm[a-z0-9._-]*"),
)  # fmt: skip
LONGEST = 500  # characters of a reference that are looked at


def repository(image: str) -> str:
    """Return the path of an image's repository in lower case, without registry, tag and digest."""
    path = image[:LONGEST].strip().lower().partition("@")[0]
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        path = rest
    head, _, last = path.rpartition("/")
    return f"{head}/{last.partition(':')[0]}".lstrip("/")


@lru_cache(maxsize=4096)
def known(image: str) -> Known | None:
    """Return the family of an inference image; None for any other image."""
    path = repository(image)
    return next((one for one in KNOWN if one.pattern.search(path)), None)
