"""A FastMCP server whose tools run as tasks, for a client of taskstore.

    fastmcp_server.py [--stdio] [--redis URL] [--defect]

Over HTTP it prints "listening on URL" once it can be reached. With --defect no tool
does what its name says: every scenario of a client must fail.
"""

import argparse
import asyncio
import os
import socket
from datetime import timedelta

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension
from mcp.shared.exceptions import MCPError

parser = argparse.ArgumentParser()
parser.add_argument("--stdio", action="store_true")
parser.add_argument("--redis", default="memory://")
parser.add_argument("--defect", action="store_true")
args = parser.parse_args()

server = FastMCP("fastmcp-with-tasks")
# A queue of its own: servers that share one run each other's tasks, and this one counts.
server.add_extension(TasksExtension(url=args.redis, name=f"interop-{os.getpid()}"))
task = TaskConfig(mode="required", poll_interval=timedelta(milliseconds=200))
stopped = 0


@server.tool(task=task)
async def count(to: int, ctx: Context) -> str:
    """Counts slowly."""
    global stopped
    if args.defect:
        return "did not count"
    try:
        for n in range(to):
            await ctx.report_progress(n, to, f"{n} of {to}")
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        stopped += 1
        raise
    return f"counted to {to}"


@server.tool(task=task)
async def delete(file: str, ctx: Context) -> str | mcp_types.InputRequiredResult:
    """Asks, then pretends to delete a file."""
    if args.defect:
        return f"moved {file}"
    answer = (ctx.input_responses or {}).get("confirm")
    if answer is None:
        form = mcp_types.ElicitRequestFormParams(
            message=f"Delete {file}?",
            requested_schema={"type": "object", "properties": {"really": {"type": "boolean"}}},
        )
        return mcp_types.InputRequiredResult(
            input_requests={"confirm": mcp_types.ElicitRequest(params=form)}
        )
    if answer.action == "accept" and answer.content["really"] is True:
        return f"deleted {file}"
    return f"kept {file}"


@server.tool(task=task)
async def fail() -> str:
    """Fails as tools do."""
    if args.defect:
        return "did not fail"
    raise ToolError("this tool always fails")


@server.tool(task=task)
async def refuse() -> str:
    """Fails as a request does."""
    if args.defect:
        return "did not refuse"
    raise MCPError(code=-32004, message="no such shelf")


@server.tool
async def cancelled() -> int:
    """How many runs of count were cancelled."""
    return stopped


async def http() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    await server.run_http_async(show_banner=False, log_level="warning", sockets=[listener])


if args.stdio:
    server.run("stdio", show_banner=False, log_level="warning")
else:
    asyncio.run(http())
