"""Code that calls an endpoint, with the real address and a placeholder for the key."""

from typing import Any

from django.conf import settings

from endpoints.models import Endpoint

Cell = dict[str, Any]


def snippets(row: Endpoint) -> list[Cell]:
    """Return code that calls the endpoint, with the real address and a placeholder for the key."""
    url, model = f"{settings.BASE_URL}/v1", f"{row.project.slug}/{row.name}"
    if row.revision and row.revision.version.needs.get("embedding"):
        return _embedding_snippets(url, model)
    python = (
        f'from openai import OpenAI\n\nclient = OpenAI(base_url="{url}", api_key="gth_…")\n'
        f'answer = client.chat.completions.create(\n    model="{model}",\n'
        '    messages=[{"role": "user", "content": "Hello"}],\n)\nprint(answer.choices[0].message.content)'
    )
    curl = (
        f"curl {url}/chat/completions \\\n  -H 'Authorization: Bearer gth_…' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}\''
    )
    script = (
        f'import OpenAI from "openai";\n\nconst client = new OpenAI({{ baseURL: "{url}", apiKey: "gth_…" }});\n'
        f'const answer = await client.chat.completions.create({{\n  model: "{model}",\n'
        '  messages: [{ role: "user", content: "Hello" }],\n});\nconsole.log(answer.choices[0].message.content);'
    )
    chain = (
        f'from langchain_openai import ChatOpenAI\n\nmodel = ChatOpenAI(\n    base_url="{url}",\n    api_key="gth_…",\n'
        f'    model="{model}",\n)\nprint(model.invoke("Hello").content)'
    )
    return _tabs(python, curl, script, chain)


def _embedding_snippets(url: str, model: str) -> list[Cell]:
    python = (
        f'from openai import OpenAI\n\nclient = OpenAI(base_url="{url}", api_key="gth_…")\n'
        f'answer = client.embeddings.create(model="{model}", input=["Hello"])\nprint(answer.data[0].embedding[:5])'
    )
    curl = (
        f"curl {url}/embeddings \\\n  -H 'Authorization: Bearer gth_…' \\\n  -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"model": "{model}", "input": ["Hello"]}}\''
    )
    script = (
        f'import OpenAI from "openai";\n\nconst client = new OpenAI({{ baseURL: "{url}", apiKey: "gth_…" }});\n'
        f'const answer = await client.embeddings.create({{ model: "{model}", input: ["Hello"] }});\n'
        "console.log(answer.data[0].embedding.slice(0, 5));"
    )
    chain = (
        f'from langchain_openai import OpenAIEmbeddings\n\nmodel = OpenAIEmbeddings(\n    base_url="{url}",\n'
        f'    api_key="gth_…",\n    model="{model}",\n    check_embedding_ctx_length=False,\n)\n'
        'print(model.embed_query("Hello")[:5])'
    )
    return _tabs(python, curl, script, chain)


def _tabs(python: str, curl: str, script: str, chain: str) -> list[Cell]:
    return [
        {"label": "Python", "code": python, "note": "openai ≥ 1.0"},
        {"label": "curl", "code": curl, "note": ""},
        {"label": "JavaScript", "code": script, "note": "openai ≥ 4"},
        {"label": "LangChain", "code": chain, "note": "langchain-openai"},
    ]
