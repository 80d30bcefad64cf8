// The server: what this page may do, requests, and streams of events.

export let config = null;

// A Refused is an answer that says what is wrong.
export class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

export async function request(path, options = {}) {
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error ?? `the server answered ${response.status}`);
  return body;
}

export function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Taskstore-CSRF": config?.csrf ?? "" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

export async function loadConfig() {
  config = await request("/api/config");
}

let open = null; // the stream of this page

// listen opens a stream, in the place of the one that is open. While the page is hidden
// there is none: the store is looked at for those who look. on has a function for each event,
// and lost, which is told how the stream is.
export function listen(path, on) {
  close();
  open = { path, on, source: null };
  if (!document.hidden) connect(open);
}

export function close() {
  open?.source?.close();
  open = null;
}

function connect(stream) {
  const source = new EventSource(path(stream));
  stream.source = source;
  for (const [name, act] of Object.entries(stream.on)) {
    if (name === "lost") continue;
    source.addEventListener(name, (event) => stream === open && act(JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    if (stream !== open) return;
    stream.on.lost(source.readyState === EventSource.CLOSED);
    // The server refused; the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => stream === open && stream.source === source && connect(stream), 3000);
  });
}

function path(stream) {
  return typeof stream.path === "function" ? stream.path() : stream.path;
}

document.addEventListener("visibilitychange", () => {
  if (!open) return;
  open.source?.close();
  open.source = null;
  if (!document.hidden) connect(open);
});
