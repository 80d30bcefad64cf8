// Elements, made without any HTML: all that comes from the store becomes text.

// h makes an element. Properties whose name begins with "on" are listeners; the others are
// attributes, and false or null ones are left out.
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// stored shows text that a server or a client has stored: it cannot turn the order of what
// is around it.
export function stored(text, properties = {}) {
  return h("bdi", properties, text);
}

// setText changes a text if it is another one, so that a selection stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let ahead = 0; // by how many milliseconds the store's clock is ahead of the browser's

// setClock takes the time of the store.
export function setClock(now) {
  ahead = Date.parse(now) - Date.now();
}

export function storeNow() {
  return Date.now() + ahead;
}

// span says how long that is, in its two greatest units.
export function span(milliseconds) {
  const s = Math.floor(Math.max(milliseconds, 0) / 1000);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

// timeOfDay is the time of today, or the day and the time.
export function timeOfDay(at) {
  const then = new Date(at);
  const today = new Date(storeNow());
  const same = then.toDateString() === today.toDateString();
  return same ? clock.format(then) : `${day.format(then)} ${clock.format(then)}`;
}

// ago shows how long ago a time was, or in how long it is, and goes on to.
export function ago(at) {
  const element = h("time", { datetime: at, title: at });
  tick(element);
  return element;
}

// setAgo has an element of ago show another time.
export function setAgo(element, at) {
  if (element.getAttribute("datetime") !== at) {
    element.setAttribute("datetime", at);
    element.title = at;
  }
  tick(element);
}

function tick(element) {
  const passed = storeNow() - Date.parse(element.getAttribute("datetime"));
  const later = element.hasAttribute("data-later");
  setText(element, later || passed < -1000 ? `in ${span(-passed)}` : span(passed));
}

setInterval(() => document.querySelectorAll("time[datetime]").forEach((e) => e.hasAttribute("data-still") || tick(e)), 1000);

const words = { working: "working", input_required: "input required", completed: "completed", failed: "failed", cancelled: "cancelled" };

// setStatus shows a status, with what an operator has to know of it.
export function setStatus(element, task) {
  const cancelling = task.cancelling && !task.orphan;
  element.dataset.status = task.orphan ? "orphan" : task.status;
  setText(element, (words[task.status] ?? task.status) + (task.orphan ? ", orphan" : cancelling ? ", cancelling" : ""));
}

export function status(task) {
  const element = h("span", { class: "status" });
  setStatus(element, task);
  return element;
}

// progress shows how far the work is, in numbers.
export function progress(p) {
  if (!p) return null;
  const text = p.Total ? `${p.Current} of ${p.Total}` : `${p.Current}`;
  if (!p.Total) return h("span", { class: "progress" }, text);
  return h("span", { class: "progress" }, h("progress", { max: p.Total, value: Math.min(p.Current, p.Total), "aria-label": "progress" }), " ", text);
}
