"""FastMCP's client drives a server:

    fastmcp_client.py URL | COMMAND ARG...

It prints a line for each scenario, "NAME ok" or "NAME failed: why".
"""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError
from fastmcp_tasks import call_tool_task

LIMIT = 30  # seconds for a scenario


def expect(want, got):
    if want != got:
        raise AssertionError(f"expected {want!r}, not {got!r}")


class Asked:
    """Gives one answer to every form, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.messages = []

    async def __call__(self, message, response_type, params, context):
        self.messages.append(message)
        return self.answer


def text(result):
    return result.content[0].text


async def result(client, asked):
    expect("counted to 2", text(await client.call_tool("count", {"to": 2})))


async def handle(client, asked):
    """call_tool_task raises an error unless the server makes a task."""
    task = await call_tool_task(client, "count", {"to": 2})
    expect("counted to 2", text(await task.result()))


async def error(client, asked):
    """The tool fails: its task is completed."""
    task = await call_tool_task(client, "fail", {})
    expect("completed", (await task.wait()).status)
    try:
        await client.call_tool("fail", {})
    except ToolError as failure:
        return expect("this tool always fails", str(failure))
    raise AssertionError("fail did not fail")


async def failed(client, asked):
    """The request fails: its task is failed."""
    task = await call_tool_task(client, "refuse", {})
    state = await task.wait()
    expect(("failed", -32004), (state.status, (state.error or {}).get("code")))


async def form(client, asked):
    asked.messages, asked.answer = [], ElicitResult(action="accept", content={"really": True})
    done = await client.call_tool("delete", {"file": "a.txt"})
    expect((["Delete a.txt?"], "deleted a.txt"), (asked.messages, text(done)))


async def decline(client, asked):
    asked.messages, asked.answer = [], ElicitResult(action="decline")
    done = await client.call_tool("delete", {"file": "b.txt"})
    expect((["Delete b.txt?"], "kept b.txt"), (asked.messages, text(done)))


async def cancel(client, asked):
    """Gives the task up once it says how far it is."""
    task = await call_tool_task(client, "count", {"to": 1000})
    while (state := await task.status()).status == "working" and not state.status_message:
        await asyncio.sleep(0.05)
    await task.cancel()
    expect("cancelled", (await task.wait()).status)


async def main():
    target, *args = sys.argv[1:]
    if not target.startswith("http"):
        target = StdioTransport(command=target, args=args, log_file=open("/dev/null", "w"))
    asked, failures = Asked(None), 0
    async with Client(target, elicitation_handler=asked) as client:
        for scenario in (result, handle, error, failed, form, decline, cancel):
            try:
                await asyncio.wait_for(scenario(client, asked), LIMIT)
                print(scenario.__name__, "ok", flush=True)
            except Exception as failure:
                failures += 1
                print(f"{scenario.__name__} failed: {failure!r}".replace("\n", " "), flush=True)
    return 1 if failures else 0


sys.exit(asyncio.run(main()))
