// The list of tasks, with sums and rates.

import { config, listen } from "./api.js";
import { ago, h, progress, setAgo, setClock, setStatus, setText, status, stored } from "./dom.js";
import { drawRates } from "./plots.js";

const kinds = ["working", "input_required", "completed", "failed", "cancelled"];
const kindNames = { working: "Working", input_required: "Input required", completed: "Completed", failed: "Failed", cancelled: "Cancelled" };

// showList shows what the parameters choose: status, tool, owner, older, orphans, id, before.
export function showList(page, parameters) {
  const list = new List(page, parameters);
  page.title("");
  page.main.replaceChildren(...list.parts);
  page.live("off", "connecting");
  listen(`/api/events/tasks?${parameters}`, {
    tasks: (view) => list.show(view),
    row: (row) => list.update(row),
    gone: ({ id }) => list.rows.get(id)?.tr.classList.add("gone"),
    problem: ({ error }) => {
      page.problem(error);
      page.live("off", "the store does not answer");
    },
    lost: async (refused) => {
      page.live("off", "reconnecting");
      if (refused) await list.refused();
    },
  });
}

class List {
  constructor(page, parameters) {
    this.page = page;
    this.parameters = parameters;
    this.rows = new Map(); // by id
    this.tiles = h("dl", { class: "tiles" });
    this.plots = h("div", { class: "plots" });
    this.tools = h("tbody");
    this.body = h("tbody");
    this.found = h("span", { class: "count" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.pager = h("nav", { class: "pager", "aria-label": "Pages" });
    this.form = this.filters();
    this.parts = [
      h("h1", { class: "hidden" }, "Tasks of the store"),
      h("section", { "aria-label": "Sums" }, this.tiles),
      h("section", { class: "card", "aria-labelledby": "rates" }, h("h2", { id: "rates" }, "Last hour"), this.plots),
      h("section", { class: "card", "aria-labelledby": "tools" }, h("h2", { id: "tools" }, "Tools"), this.toolTable()),
      h("section", { class: "card", "aria-labelledby": "tasks" }, h("h2", { id: "tasks" }, "Tasks ", this.found), this.form, this.taskTable(), this.empty, this.pager),
    ];
  }

  // go shows the list that other parameters choose, from its beginning.
  go(changes) {
    const next = new URLSearchParams(this.parameters);
    next.delete("before");
    for (const [name, value] of Object.entries(changes)) {
      if (value == null) next.delete(name);
      else next.set(name, value);
    }
    location.hash = `#/?${next}`;
  }

  filters() {
    const chosen = (name) => this.parameters.get(name) ?? "";
    const select = (name, label, options) =>
      h("label", {}, label, h("select", { name, onchange: (e) => this.go({ [name]: e.target.value || null }) }, options.map(([value, text]) => h("option", { value, selected: value === chosen(name) }, text))));
    this.tool = h("select", { name: "tool", onchange: (e) => this.go({ tool: e.target.value ? e.target.value.slice(1) : null }) });
    this.toolOptions([]);
    const form = h(
      "form",
      { class: "filters", onsubmit: (e) => e.preventDefault() },
      select("status", "Status", [["", "any"], ...kinds.map((k) => [k, kindNames[k].toLowerCase()])]),
      h("label", {}, "Tool", this.tool),
      select("older", "Created", [["", "any time"], ["1m", "over 1 min ago"], ["10m", "over 10 min ago"], ["1h", "over 1 hour ago"], ["6h", "over 6 hours ago"], ["24h", "over 1 day ago"]]),
    );
    if (config.all) {
      const owner = h("input", { name: "owner", value: chosen("owner"), placeholder: "label or name", autocomplete: "off", spellcheck: "false", onchange: (e) => this.go({ owner: e.target.value.trim() || null }) });
      form.append(h("label", {}, "Owner", owner));
      form.addEventListener("submit", () => this.go({ owner: owner.value.trim() || null }));
    }
    form.append(
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "orphans", checked: chosen("orphans") !== "", onchange: (e) => this.go({ orphans: e.target.checked ? "1" : null }) }), "Orphans only"),
    );
    if ([...this.parameters].length) form.append(h("a", { class: "button", href: "#/" }, "Clear"));
    return form;
  }

  // toolOptions lets these tools be chosen, and the one that is.
  toolOptions(names) {
    const chosen = this.parameters.get("tool");
    const all = [...new Set(chosen == null ? names : [...names, chosen])].sort();
    const key = JSON.stringify(all);
    if (this.toolKey === key || document.activeElement === this.tool) return;
    this.toolKey = key;
    this.tool.replaceChildren(h("option", { value: "" }, "any"), ...all.map((name) => h("option", { value: `=${name}`, selected: name === chosen }, name || "(none)")));
  }

  toolTable() {
    const heads = ["Tool", ...kinds.map((k) => kindNames[k]), "Orphans", "Oldest active", "Made / min", "Ended / min"];
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Sums by tool" }, h("table", { class: "numbers" }, h("thead", {}, h("tr", {}, heads.map((t) => h("th", { scope: "col" }, t)))), this.tools));
  }

  taskTable() {
    const heads = ["Id", ...(config.all ? ["Owner"] : []), "Tool", "Status", "Age", "Changed", "Message"];
    return h("table", { class: "tasks" }, h("thead", {}, h("tr", {}, heads.map((t) => h("th", { scope: "col" }, t)))), this.body);
  }

  show(view) {
    this.page.problem();
    setClock(view.now);
    this.showFeed(view.feed);
    this.showSums(view);
    drawRates(this.plots, view.rates);
    const rows = view.rows.map((row) => this.row(row));
    const ids = new Set(view.rows.map((row) => row.id));
    for (const id of this.rows.keys()) if (!ids.has(id)) this.rows.delete(id);
    if (rows.some((r, i) => this.body.children[i] !== r.tr) || this.body.children.length !== rows.length) this.place(rows);
    setText(this.found, `${view.found.toLocaleString()}${view.found === view.tasks ? "" : ` of ${view.tasks.toLocaleString()}`}`);
    this.empty.hidden = view.found > 0;
    setText(this.empty, view.tasks ? "No task matches." : "There are no tasks.");
    this.showPager(view.next);
  }

  // place puts the rows in order; one that has the focus keeps it.
  place(rows) {
    const focused = document.activeElement;
    this.body.replaceChildren(...rows.map((r) => r.tr));
    if (focused && this.body.contains(focused)) focused.focus({ preventScroll: true });
  }

  showFeed(feed) {
    if (feed.owners && feed.watched === feed.owners) this.page.live("on", "live", "the store tells of changes");
    else this.page.live("poll", feed.watched ? "live in part" : feed.owners ? `every ${config.interval_ms / 1000} s` : "live", feed.reason ?? "");
  }

  showSums(view) {
    const sum = (of) => view.tools.reduce((n, tool) => n + of(tool), 0);
    const tiles = [
      ["Working", sum((t) => t.by_status.working ?? 0), "working"],
      ["Input required", sum((t) => t.by_status.input_required ?? 0), "input_required"],
      ["Orphans", sum((t) => t.orphans), "orphan"],
      ["Failed, kept", sum((t) => t.by_status.failed ?? 0), "failed"],
      ["Made, last minute", sum((t) => t.created), ""],
      ["Ended, last minute", sum((t) => t.ended), ""],
      ...(view.unreadable ? [["Unreadable", view.unreadable, "failed"]] : []),
    ];
    this.tiles.replaceChildren(...tiles.map(([name, n, kind]) => h("div", { "data-status": n ? kind : "" }, h("dt", {}, name), h("dd", {}, n.toLocaleString()))));
    this.toolOptions(view.tools.filter((t) => !t.others).map((t) => t.tool));
    this.tools.replaceChildren(
      ...view.tools.map((t) => {
        const link = (extra, text) => h("a", { href: `#/?${this.with({ tool: t.tool, ...extra })}` }, text);
        const name = t.others ? "other tools" : link({}, stored(t.tool || "(none)"));
        const cells = kinds.map((k) => (t.by_status[k] ? (t.others ? `${t.by_status[k]}` : link({ status: k }, t.by_status[k].toLocaleString())) : "–"));
        cells.push(t.orphans ? link({ orphans: "1" }, t.orphans.toLocaleString()) : "–", t.oldest ? ago(t.oldest) : "–", `${t.created}`, `${t.ended}`);
        return h("tr", {}, h("th", { scope: "row" }, name), cells.map((c) => h("td", {}, c)));
      }),
    );
  }

  // with is the query of another list of the same owner.
  with(parameters) {
    const owner = this.parameters.get("owner");
    return new URLSearchParams(owner ? { owner, ...parameters } : parameters);
  }

  row(row) {
    let r = this.rows.get(row.id);
    if (!r) {
      const href = `#/task/${encodeURIComponent(row.id)}?${new URLSearchParams({ owner: row.owner })}`;
      r = { age: ago(row.created_at), changed: ago(row.updated_at), status: status(row), message: stored(""), progress: h("span"), tr: h("tr") };
      r.message.className = "message";
      const cell = (label, ...children) => h("td", { "data-label": label }, ...children);
      r.tr.append(
        cell("Id", h("a", { class: "id", href, title: row.id }, row.id)),
        ...(config.all ? [cell("Owner", h("a", { href: `#/?${new URLSearchParams({ owner: row.owner })}` }, stored(row.owner_name ?? row.owner)))] : []),
        cell("Tool", stored(row.tool || "–")),
        cell("Status", r.status),
        cell("Age", r.age),
        cell("Changed", r.changed),
        cell("Message", r.progress, r.message),
      );
      this.rows.set(row.id, r);
    }
    setStatus(r.status, row);
    setAgo(r.age, row.created_at);
    setAgo(r.changed, row.updated_at);
    setText(r.message, row.message ?? "");
    r.progress.replaceChildren(...(row.progress ? [progress(row.progress), " "] : []));
    r.tr.classList.remove("gone");
    return r;
  }

  // update shows a task that has changed, if it is in the list.
  update(row) {
    if (this.rows.has(row.id)) this.row(row);
  }

  showPager(next) {
    const link = (text, changes) => h("a", { class: "button", href: `#/?${changes}` }, text);
    const at = (before) => {
      const q = new URLSearchParams(this.parameters);
      q.delete("before");
      if (before) q.set("before", before);
      return q;
    };
    const key = `${next}|${this.parameters}`;
    if (this.pagerKey === key) return;
    this.pagerKey = key;
    this.pager.replaceChildren(...(this.parameters.has("before") ? [link("Newest", at(""))] : []), ...(next ? [link("Older", at(next))] : []));
  }

  // refused says why the server gave no stream.
  async refused() {
    try {
      const response = await fetch("/api/config", { cache: "no-store" });
      if (response.status === 401) this.page.login();
      else this.page.problem("the server refused; what the list is chosen by may be wrong");
    } catch {
      this.page.problem("the command has ended, or cannot be reached");
    }
  }
}
