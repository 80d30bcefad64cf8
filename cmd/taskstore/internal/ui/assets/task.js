// One task: what its record tells, what has changed since the page was opened, and cancel.

import { close, config, listen, post, request } from "./api.js";
import { ago, h, progress, setClock, span, status, stored, timeOfDay } from "./dom.js";

const ended = new Set(["completed", "failed", "cancelled"]);
const maxSeen = 100; // changes that are shown

// showTask shows the task; the label of its owner finds it at once.
export function showTask(page, id, owner) {
  const view = new TaskView(page, id, owner);
  page.title("task");
  page.main.replaceChildren(h("p", { class: "empty" }, "Looking for the task…"));
  page.live("off", "connecting");
  listen(`/api/events/task?${new URLSearchParams({ id, owner })}`, {
    task: (event) => view.show(event),
    gone: () => view.gone(),
    problem: ({ error }) => page.problem(error),
    lost: (refused) => {
      page.live("off", "reconnecting");
      if (refused) view.refused();
    },
  });
}

class TaskView {
  constructor(page, id, owner) {
    this.page = page;
    this.named = { id, owner };
    this.seen = h("ol", { class: "seen" });
    this.head = h("div", { class: "taskhead" });
    this.facts = h("dl", { class: "facts" });
    this.timeline = h("ol", { class: "timeline" });
    this.actions = h("div", { class: "actions" });
    this.payload = h("div", { class: "payload" });
    this.done = h("p", { class: "done", role: "status" });
    this.parts = [
      h("p", { class: "back" }, h("a", { href: "#/" }, "← All tasks")),
      h("section", { class: "card" }, this.head, this.actions, this.done),
      h("div", { class: "columns" },
        h("section", { class: "card", "aria-labelledby": "timeline" }, h("h2", { id: "timeline" }, "Timeline"), this.timeline),
        h("section", { class: "card", "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "Record"), this.facts)),
      h("section", { class: "card", "aria-labelledby": "seen" }, h("h2", { id: "seen" }, "Seen since this page was opened"), this.seen),
      h("section", { class: "card", "aria-labelledby": "payload" }, h("h2", { id: "payload" }, "Payload"), this.payload),
    ];
    this.showPayload();
  }

  show(event) {
    const t = event.task;
    setClock(event.now);
    this.page.problem();
    this.page.live(event.watched ? "on" : "poll", event.watched ? "live" : `every ${Math.min(config.interval_ms, 15000) / 1000} s`, event.watched ? "" : "the store does not tell of changes");
    this.page.title(`${t.tool || "task"}, ${t.status.replace("_", " ")}`);
    if (!this.shown) this.page.main.replaceChildren(...this.parts);
    this.shown = true;
    const state = { status: t.status, orphan: t.orphan, cancelling: t.cancel_requested && !ended.has(t.status) };
    this.head.replaceChildren(
      h("div", { class: "titles" }, h("h1", {}, stored(t.tool || "(no tool)")), status(state)),
      h("p", { class: "id" }, t.id),
      ...(t.status_message ? [h("p", { class: "says" }, stored(t.status_message))] : []),
      ...(event.progress ? [progress(event.progress)] : []),
    );
    this.showActions(t);
    this.timeline.replaceChildren(...event.timeline.map((m) => moment(m)));
    this.facts.replaceChildren(...facts(event).flatMap(([name, value]) => (value == null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)])));
    this.note(event, state);
  }

  // note adds a line where a client or an operator would see a difference.
  note(event, state) {
    const t = event.task;
    const key = JSON.stringify([t.revision, t.lease?.token, t.orphan]);
    if (key === this.noted) return;
    this.noted = key;
    const words = t.status_message ? [" ", stored(t.status_message)] : [];
    const p = event.progress;
    this.seen.prepend(
      h("li", {},
        h("time", { datetime: event.now, "data-still": true, title: event.now }, timeOfDay(event.now)), " ",
        status(state), " ",
        h("span", { class: "hint" }, `revision ${t.revision}${t.lease?.token ? `, run ${t.lease.token}` : ""}${p ? `, ${p.Current}${p.Total ? ` of ${p.Total}` : ""}` : ""}`),
        ...words),
    );
    while (this.seen.children.length > maxSeen) this.seen.lastChild.remove();
  }

  showActions(t) {
    const may = config.write && !ended.has(t.status);
    if (!may) this.actions.replaceChildren();
    else if (!this.actions.children.length) this.actions.append(this.cancelButton());
  }

  cancelButton() {
    const sure = h("dialog", { "aria-labelledby": "sure" },
      h("h2", { id: "sure" }, "Cancel this task?"),
      h("p", {}, "Its runner is asked to end it. Without a runner it ends at once. This cannot be undone."),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => sure.close() }, "Keep it"),
        h("button", { type: "button", class: "danger", id: "cancel-sure", onclick: () => { sure.close(); this.cancel(); } }, "Cancel the task")));
    return h("div", {}, h("button", { type: "button", class: "danger", id: "cancel", onclick: () => sure.showModal() }, "Cancel…"), sure);
  }

  async cancel() {
    try {
      const { done } = await post("/api/cancel", this.named);
      this.done.textContent = done;
    } catch (err) {
      if (err.code === 401) return this.page.login();
      this.page.problem(err.message);
    }
  }

  showPayload() {
    if (!config.payload) {
      this.payload.replaceChildren(h("p", { class: "hint" }, "The payload is hidden; start the page with --payload."));
      return;
    }
    this.payload.replaceChildren(h("button", {
      type: "button", id: "show-payload",
      onclick: async () => {
        try {
          const p = await request(`/api/payload?${new URLSearchParams(this.named)}`);
          this.payload.replaceChildren(h("pre", { tabindex: "0", "aria-label": "Payload as JSON" }, JSON.stringify(p, null, 2)));
        } catch (err) {
          if (err.code === 401) return this.page.login();
          this.page.problem(err.message);
        }
      },
    }, "Show payload"));
  }

  gone() {
    close();
    this.page.live("off", "ended");
    this.page.problem("The task has expired or was deleted. This is its last known state.");
    this.actions.replaceChildren();
  }

  // refused says why there is nothing to show.
  async refused() {
    try {
      const response = await fetch(`/api/events/task?${new URLSearchParams(this.named)}`, { cache: "no-store" });
      if (response.ok) return response.body.cancel();
      if (response.status === 401) return this.page.login();
      const { error } = await response.json();
      this.page.problem(error);
      if (response.status === 404) {
        close();
        this.page.live("off", "not found");
        if (!this.shown) this.page.main.replaceChildren(h("p", { class: "back" }, h("a", { href: "#/" }, "← All tasks")), h("p", { class: "empty" }, "There is no such task."));
      }
    } catch {
      this.page.problem("the command has ended, or cannot be reached");
    }
  }
}

function moment(m) {
  const when = h("span", { class: "when" });
  if (m.at) {
    const passed = ago(m.at);
    if (m.kind === "later") passed.setAttribute("data-later", "");
    when.append(timeOfDay(m.at), " · ", passed, m.kind === "later" || Date.parse(m.at) > Date.now() ? "" : " ago");
  } else when.append("time not recorded");
  return h("li", { "data-kind": m.kind }, h("span", { class: "what" }, m.what.replace("_", " ")), m.more ? h("span", { class: "more" }, stored(m.more)) : null, when);
}

function facts(event) {
  const t = event.task;
  const lasting = (ms) => (ms >= 60000 ? span(ms) : ms ? `${ms / 1000} s` : null);
  return [
    ["Owner", stored(event.owner_name ?? event.owner)],
    ["Service", t.service ? stored(t.service) : null],
    ["Runner", t.lease?.holder ? stored(t.lease.holder) : null],
    ["Runs", t.lease ? `${t.lease.token}` : null],
    ["May run again", t.resumable ? "yes" : "no"],
    ["Open questions", t.questions ? `${t.questions}` : null],
    ["Error code", t.error_code != null ? `${t.error_code}` : null],
    ["Promised for", lasting(t.ttl_ms)],
    ["Clients ask every", lasting(t.poll_interval_ms)],
    ["Revision", `${t.revision}, of version ${t.version}`],
    ["Bytes", `${t.bytes.record.toLocaleString()}; request ${t.bytes.request.toLocaleString()}, result ${t.bytes.result.toLocaleString()}, state ${t.bytes.state.toLocaleString()}`],
  ];
}
