// The TypeScript SDK v1, which has no tasks, drives a server whose tools have a fallback:
//
//   typescript_client.mjs http|stdio COMMAND ARG...
//
// It does what a model does that knows nothing but the texts of answers, and kills the
// server's process in between. How many steps the long tool has, how long they take and
// when tools fail come from STEPS, STEP_MS and FAIL_MS. It prints a line for each scenario,
// "NAME ok" or "NAME failed: why".
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [transport, command, ...args] = process.argv.slice(2);
const pidFile = join(mkdtempSync(join(tmpdir(), "plain-")), "pid");
const flags = [...args, "-pid", pidFile];
const steps = Number(process.env.STEPS ?? 20);
const ms = Number(process.env.STEP_MS ?? 100);
const failsAfter = Number(process.env.FAIL_MS ?? 3000);

function expect(want, got) {
  if (JSON.stringify(want) !== JSON.stringify(got))
    throw new Error(`expected ${JSON.stringify(want)}, not ${JSON.stringify(got)}`);
}

// serve starts the server over HTTP and returns its URL.
function serve() {
  const child = spawn(command, flags, { stdio: ["ignore", "pipe", "ignore"] });
  return new Promise((resolve, reject) => {
    child.on("exit", () => reject(new Error("the server ended")));
    child.stdout.on("data", (line) => resolve(new URL(/http:\S+/.exec(line)[0])));
  });
}

let client;
async function connect() {
  client = new Client({ name: "typescript-plain", version: "1" });
  await client.connect(
    transport === "http"
      ? new StreamableHTTPClientTransport(await serve(), { requestInit: { headers: { Authorization: "Bearer alice" } } })
      : new StdioClientTransport({ command, args: [...flags, "-stdio"], stderr: "ignore" }),
  );
  await client.listTools(); // from now on it checks answers against each outputSchema
}

// restart kills the server and starts it again, as its host does.
async function restart() {
  process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
  await client.close().catch(() => {});
  await connect();
}

const textOf = (result) => result.content.map((c) => c.text ?? "").join("\n");
const call = (name, args) => client.callTool({ name, arguments: args });

// next returns the call that the last line of an answer asks for, undefined if none.
function next(result, user) {
  const line = textOf(result).split("\n").at(-1);
  const asked = /^next: .*?[Cc]all (\S+) with (\{.*)/.exec(line);
  if (!asked) return undefined;
  let end = 0; // of the JSON object
  for (let depth = 0, quoted = false, i = 0; i < asked[2].length && !end; i++) {
    const c = asked[2][i];
    if (c === '"' && asked[2][i - 1] !== "\\") quoted = !quoted;
    if (quoted) continue;
    if (c === "{") depth++;
    if (c === "}" && --depth === 0) end = i + 1;
  }
  const args = JSON.parse(asked[2].slice(0, end));
  for (const key of Object.keys(args.answers ?? {}))
    args.answers[key] = user?.[key] ? { action: "accept", content: user[key] } : { action: "decline" };
  return [asked[1], args];
}

async function follow(result, user) {
  for (let turn = 0; turn < 100; turn++) {
    const asked = next(result, user);
    if (!asked) return result;
    result = await call(...asked);
  }
  throw new Error("the chain of calls did not end");
}

// started calls a tool and wants a task.
async function started(name, args, status) {
  const result = await call(name, args);
  expect(status, result.structuredContent?.status);
  return result;
}

const scenarios = {
  async told() {
    expect(true, /task_status/.test(client.getInstructions()));
  },
  async quick() {
    expect({ counted: 1 }, (await call("count", { steps: 1, ms: 1 })).structuredContent);
  },
  async long() {
    const begun = await started("count", { steps, ms }, "working");
    await restart();
    const result = await follow(begun);
    expect([{ counted: steps }, `{"counted":${steps}}`], [result.structuredContent, textOf(result)]);
  },
  async form() {
    const begun = await started("delete", { file: "a.txt" }, "input_required");
    await restart();
    const result = await follow(begun, { confirm: { really: true } });
    expect({ deleted: true, file: "a.txt" }, { ...result.structuredContent });
  },
  async decline() {
    const result = await follow(await started("delete", { file: "b.txt" }, "input_required"));
    expect({ deleted: false, file: "b.txt" }, { ...result.structuredContent });
  },
  async error() {
    const result = await follow(await started("fail", { ms: failsAfter }, "working"));
    expect([true, undefined, "this tool always fails"], [result.isError, result.structuredContent, textOf(result).trim()]);
  },
  async failed() {
    const { isError, structuredContent: s } = await follow(await started("refuse", { ms: failsAfter }, "working"));
    expect([true, "failed", -32004], [isError, s?.status, s?.error?.code]);
  },
  async cancel() {
    const begun = await started("count", { steps: 1000, ms: 100 }, "working");
    const { id } = begun.structuredContent;
    const cancelled = await follow(await call("task_cancel", { id }));
    expect("cancelled", cancelled.structuredContent?.status);
    const after = await follow(begun);
    expect([true, "cancelled"], [after.isError ?? false, after.structuredContent?.status]);
  },
  async unknown() {
    const { isError, structuredContent: s } = await call("task_status", { id: "x" });
    expect([true, "task_not_found", undefined], [isError, s?.code, s?.status]);
  },
};

let failed = 0;
await connect();
for (const [name, run] of Object.entries(scenarios)) {
  try {
    await run();
    console.log(`${name} ok`);
  } catch (error) {
    failed++;
    console.log(`${name} failed: ${String(error.message).replaceAll("\n", " ")}`);
  }
}
process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
await client.close().catch(() => {});
process.exit(failed ? 1 : 0);
