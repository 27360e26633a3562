"""An MCP server of the SDK for tests: it lists the tools of a file, read anew each time. Prints its port.

`python mcp_server.py FILE`; FILE is JSON: {"tools": […], "instructions": "", "page": tools on one page}.
"""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server


def server(path: Path) -> Server[Any]:
    """Return the server that lists what stands in `path`."""

    async def list_tools(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        wanted = json.loads(path.read_text())
        size, start = wanted.get("page", 100), int((params and params.cursor) or 0)
        tools = [types.Tool.model_validate(tool) for tool in wanted["tools"]]
        following = str(start + size) if start + size < len(tools) else None
        return types.ListToolsResult(tools=tools[start : start + size], next_cursor=following)

    async def list_prompts(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name="greet", description="Greets.")])

    async def list_resources(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(uri="note://one", name="one")])

    return Server(
        "ledger", version="1.4.0", instructions=json.loads(path.read_text()).get("instructions"),
        on_list_tools=list_tools, on_list_prompts=list_prompts, on_list_resources=list_resources,
    )  # fmt: skip


def main() -> None:
    """Listen on a free port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    app = server(Path(sys.argv[1])).streamable_http_app()
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    asyncio.run(running.serve(sockets=[listening]))


if __name__ == "__main__":
    main()
