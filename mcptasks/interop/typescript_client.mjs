// The official TypeScript client with @modelcontextprotocol/ext-tasks drives a server:
//
//   typescript_client.mjs URL | COMMAND ARG...
//
// It prints a line for each scenario, "NAME ok" or "NAME failed: why".
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient } from "@modelcontextprotocol/ext-tasks/client";

const info = { name: "typescript-interop", version: "1" };
const capabilities = {
  elicitation: { form: {} },
  extensions: { "io.modelcontextprotocol/tasks": {} },
};
const protocolVersion = "2026-07-28";
const [target, ...args] = process.argv.slice(2);
const limit = 30_000; // for a scenario

function expect(want, got) {
  if (JSON.stringify(want) !== JSON.stringify(got))
    throw new Error(`expected ${JSON.stringify(want)}, not ${JSON.stringify(got)}`);
}

async function connect() {
  const client = new Client(info, { capabilities, versionNegotiation: { mode: "auto" } });
  const transport = /^https?:/.test(target)
    ? new StreamableHTTPClientTransport(new URL(target))
    : new StdioClientTransport({ command: target, args, stderr: "ignore" });
  await client.connect(transport);
  expect(protocolVersion, client.getNegotiatedProtocolVersion());
  return { client, transport };
}

// rawDispatch gives a way past the client's decoder, which refuses a task in the place
// of a result: ext-tasks wants its host to have one.
function rawDispatch(transport) {
  const waiting = new Map();
  const forward = transport.onmessage;
  transport.onmessage = (message, extra) => {
    const settle = "method" in message ? undefined : waiting.get(message.id);
    if (!settle) return forward(message, extra);
    waiting.delete(message.id);
    settle(
      "error" in message
        ? { kind: "error", error: message.error }
        : { kind: "result", result: message.result },
    );
  };
  return (request, options = {}) =>
    new Promise((resolve, reject) => {
      const id = `task:${crypto.randomUUID()}`;
      waiting.set(id, resolve);
      transport
        .send({ jsonrpc: "2.0", id, ...request }, { headers: options.context?.headers })
        .catch((error) => {
          waiting.delete(id);
          reject(error);
        });
    });
}

// open returns a session that gives answer to every form and keeps what it was asked.
async function open(answer) {
  const { client, transport } = await connect();
  const asked = [];
  const pushed = new EventTarget();
  client.fallbackNotificationHandler = async ({ method, params }) => {
    if (method === "notifications/tasks")
      pushed.dispatchEvent(new CustomEvent(`${params.taskId} ${params.status}`, { detail: params }));
  };
  const session = createTaskSessionFromClient(client, {
    endpointId: "interop",
    rawDispatch: rawDispatch(transport),
    v2RequestFraming: { protocolVersion, clientInfo: info, clientCapabilities: capabilities },
    onInputRequest: async (request) => {
      asked.push(request.params.message);
      return answer;
    },
  });
  const close = async () => {
    await session.close();
    await client.close();
  };
  return { client, session, asked, pushed, close };
}

const accept = { action: "accept", content: { really: true } };

// end waits for the outcome of an execution that must be a task.
async function end(execution) {
  expect("task", execution.kind);
  const { outcome } = await execution.settle({ signal: AbortSignal.timeout(limit) });
  return outcome;
}

const textOf = (outcome) => outcome.result?.content?.[0]?.text;

const scenarios = {
  async result({ session }) {
    const outcome = await end(await session.callTool("count", { to: 2 }));
    expect(["completed", "counted to 2"], [outcome.status, textOf(outcome)]);
  },
  // The tool fails: its task is completed.
  async error({ session }) {
    const outcome = await end(await session.callTool("fail", {}));
    expect(
      ["completed", true, "this tool always fails"],
      [outcome.status, outcome.result?.isError, textOf(outcome)],
    );
  },
  // The request fails: its task is failed.
  async failed({ session }) {
    const outcome = await end(await session.callTool("refuse", {}));
    expect(["failed", -32004], [outcome.status, outcome.error?.code]);
  },
  async form({ session, asked }) {
    const outcome = await end(await session.callTool("delete", { file: "a.txt" }));
    expect(["completed", "deleted a.txt"], [outcome.status, textOf(outcome)]);
    expect(["Delete a.txt?"], asked);
  },
  async decline() {
    const { session, asked, close } = await open({ action: "decline" });
    const outcome = await end(await session.callTool("delete", { file: "b.txt" }));
    expect(["completed", "kept b.txt"], [outcome.status, textOf(outcome)]);
    expect(["Delete b.txt?"], asked);
    await close();
  },
  // Gives the task up once it says how far it is.
  async cancel({ session }) {
    const execution = await session.callTool("count", { to: 1000 });
    expect("task", execution.kind);
    const signal = AbortSignal.timeout(limit);
    for await (const { task } of execution.updates(signal)) {
      if (task?.statusMessage || task?.status !== "working") break;
    }
    await execution.cancel();
    const outcome = await session.task(execution.handle.taskId).result({ signal });
    expect("cancelled", outcome.status);
  },
  async push({ client, session, pushed }) {
    const execution = await session.callTool("count", { to: 2 });
    expect("task", execution.kind);
    const { taskId } = execution.handle;
    const completed = new Promise((resolve, reject) => {
      pushed.addEventListener(`${taskId} completed`, ({ detail }) => resolve(detail));
      AbortSignal.timeout(limit).addEventListener("abort", () => reject(new Error("no push came")));
    });
    const [subscription, { result }] = await Promise.all([
      client.listen({ taskIds: [taskId] }),
      completed,
    ]);
    expect("counted to 2", result.content[0].text);
    await subscription.close();
    await end(execution);
  },
};

let failed = 0;
const shared = await open(accept);
for (const [name, run] of Object.entries(scenarios)) {
  shared.asked.length = 0;
  try {
    await run(shared);
    console.log(`${name} ok`);
  } catch (error) {
    failed++;
    console.log(`${name} failed: ${String(error.message).replaceAll("\n", " ")}`);
  }
}
await shared.close();
process.exit(failed ? 1 : 0);
