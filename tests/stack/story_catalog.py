"""What the story tells of the catalog: a model with real content is in review with its evidence, a draft waits to be
sent, a version is on its way out, and a project was granted an MCP server.
"""

from typing import TYPE_CHECKING, Any

from tests.stack.conftest import wait_for

if TYPE_CHECKING:
    from tests.stack.story import Story

MODEL, VERSION = "case-notes-llama", "2026-11"
SERVER, DRAFT, LEAVING = "deepwiki", ("phi-4-mini-instruct", "1.2"), ("demo-failures", "hang")
CARD = """A small Llama that was trained on closed cases.

## Intended use

Drafts the note that closes a case; people send it.

## Limitations

English only. It knows no case that was closed after June.

## Evaluation

| set | notes accepted unchanged |
| --- | --- |
| closed cases, May | 71 % |
"""
COMMAND = (
    "vllm serve {model} --host {host} --port {port} --served-model-name {name} --max-model-len {context} "
    "--max-num-seqs {concurrency} --load-format safetensors"
)
ASSET: dict[str, Any] = {
    "slug": MODEL, "kind": "model", "name": "Case Notes Llama", "publisher": "Fraud desk", "description": CARD,
    "summary": "Drafts the note that closes a case.", "homepage": "https://example.com/case-notes",
    "tasks": ["chat", "summarisation"], "languages": ["en"],
    "versions": [{
        "version": VERSION, "source": f"pvc://models/{MODEL}", "licence": "MIT",
        "runtime": {"engine": "vllm", "command": COMMAND.split()},
        "needs": {"parameters": 41088, "bytes_per_parameter": 2, "layers": 2, "kv_heads": 2, "head_dim": 16,
                  "kv_bytes": 2, "max_context_tokens": 512},
        "facts": {"sources": {"read": ["https://example.com/case-notes"]}},
    }],
}  # fmt: skip
# In the portal's shell: this module is read where Django is not set up (tools/screens.py).
WRITE = f"""
from django.conf import settings
from tests.catalog.content_kit import write_model
from tests.catalog.signing_kit import new_key, public_pem, sign
key, signers = new_key(), settings.STATE_DIR / "signers"
signers.mkdir(exist_ok=True)
(signers / "fraud-desk.pub").write_bytes(public_pem(key))
sign(write_model(settings.STATE_DIR / "models" / "{MODEL}"), key, settings.STATE_DIR)
print("true")
"""
PATH = f"/catalog/assets/{MODEL}/versions/{VERSION}"


def propose(story: "Story") -> None:
    """dana proposes a signed model of her own; workers collect its evidence while the story goes on."""
    story.shell(WRITE)
    story.call("POST", "/catalog/assets", "dana's catalog", ASSET)


def go_on(story: "Story", ends_on: str) -> None:
    """The model is sent to review; the other objects come to be."""

    def collected() -> bool:
        jobs = story.call("GET", f"{PATH}/jobs", "dana's catalog")["items"]
        return bool(jobs) and all(job["state"] == "done" for job in jobs)

    wait_for(collected, 120, "the evidence of the proposed model")
    purpose = {"purpose": "Forty notes a day are written by hand."}
    story.call("POST", f"{PATH}/submit", "dana's catalog", purpose)
    story.propose(*DRAFT, send=False)
    slug, version = LEAVING
    story.call("POST", f"/catalog/assets/{slug}/versions/{version}/deprecate", "pat", {
        "reason": "slow-load shows the same.", "successor": f"{slug}@slow-load",
    })  # fmt: skip
    story.ask("omar", {
        "kind": "mcp-access", "project": "fraud-detection", "asset": SERVER, "version": "2026-11",
        "tools": ["read_wiki_structure", "ask_question"], "ends_on": ends_on,
        "purpose": "The assistant of the desk answers questions about our libraries.",
    }, "approve")  # fmt: skip
