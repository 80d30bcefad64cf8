"""The Python SDK 1.x, which has no tasks, drives a server whose tools have a fallback:

    python_client.py http|stdio COMMAND ARG...

It does what a model does that knows nothing but the texts of answers, and kills the
server's process in between. How many steps the long tool has, how long they take and when
tools fail come from STEPS, STEP_MS and FAIL_MS. It prints a line for each scenario, "NAME
ok" or "NAME failed: why".
"""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

logging.disable()  # of sessions that the server did not live to end
TRANSPORT, COMMAND, *ARGS = sys.argv[1:]
PID = os.path.join(tempfile.mkdtemp(prefix="plain-"), "pid")
FLAGS = [*ARGS, "-pid", PID]
STEPS = int(os.environ.get("STEPS", 20))
MS = int(os.environ.get("STEP_MS", 100))
FAILS_AFTER = int(os.environ.get("FAIL_MS", 3000))
NEXT = re.compile(r"^next: .*?[Cc]all (\S+) with (\{.*)")


def expect(want, got):
    if want != got:
        raise AssertionError(f"expected {want!r}, not {got!r}")


def text(result):
    return "\n".join(getattr(c, "text", "") for c in result.content)


def field(result, name):
    return (result.structuredContent or {}).get(name)


class Host:
    """Runs the server and the client, and connects again when the server is gone."""

    async def connect(self):
        self.stack = AsyncExitStack()
        if TRANSPORT == "http":
            server = subprocess.Popen([COMMAND, *FLAGS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            url = re.search(r"http:\S+", server.stdout.readline())[0]
            streams = streamablehttp_client(url, headers={"Authorization": "Bearer alice"})
        else:
            streams = stdio_client(StdioServerParameters(command=COMMAND, args=[*FLAGS, "-stdio"]), errlog=open(os.devnull, "w"))
        read, write, *_ = await self.stack.enter_async_context(streams)
        self.session = await self.stack.enter_async_context(ClientSession(read, write))
        self.instructions = (await self.session.initialize()).instructions
        await self.session.list_tools()  # from now on it checks answers against each outputSchema

    def kill(self):
        with open(PID) as f:
            os.kill(int(f.read()), signal.SIGKILL)

    async def restart(self):
        self.kill()
        try:
            await self.stack.aclose()
        except Exception:
            pass  # the server is gone
        await self.connect()

    async def call(self, name, args):
        return await self.session.call_tool(name, args)

    async def started(self, name, args, status):
        """Calls a tool and wants a task."""
        result = await self.call(name, args)
        expect(status, field(result, "status"))
        return result

    async def follow(self, result, user=None):
        """Does what each answer says, until none says more."""
        for _ in range(100):
            asked = NEXT.match(text(result).split("\n")[-1])
            if not asked:
                return result
            args, _ = json.JSONDecoder().raw_decode(asked[2])
            for key in args.get("answers", {}):
                said = (user or {}).get(key)
                args["answers"][key] = {"action": "accept", "content": said} if said else {"action": "decline"}
            result = await self.call(asked[1], args)
        raise AssertionError("the chain of calls did not end")


async def told(host):
    expect(True, "task_status" in (host.instructions or ""))


async def quick(host):
    expect({"counted": 1}, (await host.call("count", {"steps": 1, "ms": 1})).structuredContent)


async def long(host):
    begun = await host.started("count", {"steps": STEPS, "ms": MS}, "working")
    await host.restart()
    result = await host.follow(begun)
    expect(({"counted": STEPS}, f'{{"counted":{STEPS}}}'), (result.structuredContent, text(result)))


async def form(host):
    begun = await host.started("delete", {"file": "a.txt"}, "input_required")
    await host.restart()
    result = await host.follow(begun, {"confirm": {"really": True}})
    expect({"file": "a.txt", "deleted": True}, result.structuredContent)


async def decline(host):
    result = await host.follow(await host.started("delete", {"file": "b.txt"}, "input_required"))
    expect({"file": "b.txt", "deleted": False}, result.structuredContent)


async def error(host):
    result = await host.follow(await host.started("fail", {"ms": FAILS_AFTER}, "working"))
    expect((True, None, "this tool always fails"), (result.isError, result.structuredContent, text(result).strip()))


async def failed(host):
    result = await host.follow(await host.started("refuse", {"ms": FAILS_AFTER}, "working"))
    expect((True, "failed", -32004), (result.isError, field(result, "status"), (field(result, "error") or {}).get("code")))


async def cancel(host):
    begun = await host.started("count", {"steps": 1000, "ms": 100}, "working")
    cancelled = await host.follow(await host.call("task_cancel", {"id": field(begun, "id")}))
    expect("cancelled", field(cancelled, "status"))
    after = await host.follow(begun)
    expect((True, "cancelled"), (after.isError, field(after, "status")))


async def unknown(host):
    result = await host.call("task_status", {"id": "x"})
    expect((True, "task_not_found", None), (result.isError, field(result, "code"), field(result, "status")))


async def main():
    host, failures = Host(), 0
    await host.connect()
    for scenario in (told, quick, long, form, decline, error, failed, cancel, unknown):
        try:
            await scenario(host)
            print(scenario.__name__, "ok", flush=True)
        except Exception as failure:
            failures += 1
            print(f"{scenario.__name__} failed: {failure!r}".replace("\n", " "), flush=True)
    host.kill()
    sys.stdout.flush()
    os._exit(1 if failures else 0)  # what waits for the server that is gone may wait


asyncio.run(main())
