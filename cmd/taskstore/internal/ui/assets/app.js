// The frame of the page: it shows a list or a task, by the part of the address behind the #.

import { close, config, loadConfig, post } from "./api.js";
import { h, setText } from "./dom.js";
import { showList } from "./list.js";
import { showTask } from "./task.js";

const main = document.getElementById("main");
const problem = document.getElementById("problem");
const live = document.getElementById("live");
const search = document.getElementById("search");
const searched = document.getElementById("search-id");

// page is what the views need of what is around them.
const page = {
  main,
  // problem shows what is wrong; without a text all is well.
  problem(text = "") {
    setText(problem, text);
    problem.hidden = !text;
  },
  // live shows how changes are noticed.
  live(state, text, title = "") {
    live.dataset.state = state;
    live.title = title;
    setText(live, text);
  },
  title(text) {
    document.title = text ? `${text} · taskstore` : "taskstore";
  },
  login,
};

function login() {
  close();
  page.live("off", "not logged in");
  page.problem();
  const token = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const form = h(
    "form",
    {
      class: "card login",
      async onsubmit(event) {
        event.preventDefault();
        try {
          await post("/api/login", { token: token.value });
          await start();
        } catch (err) {
          page.problem(err.message);
          token.select();
        }
      },
    },
    h("h1", {}, "Log in"),
    h("label", { for: "token" }, "Token"),
    token,
    h("button", { class: "primary" }, "Log in"),
    h("p", { class: "hint" }, "The token is in the file of --token-file, or in TASKSTORE_UI_TOKEN."),
  );
  main.replaceChildren(form);
  token.focus();
}

function route() {
  if (!config) return;
  page.problem();
  const [where, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  const [kind, id] = where.split("/");
  searched.value = parameters.get("id") ?? "";
  if (kind === "task" && id) showTask(page, decodeURIComponent(id), parameters.get("owner") ?? "");
  else showList(page, parameters);
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  const id = searched.value.trim().toLowerCase();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9a-f]{2})?$/.test(id)) location.hash = `#/task/${id}`;
  else location.hash = id ? `#/?${new URLSearchParams({ id })}` : "#/";
});

async function start() {
  try {
    await loadConfig();
  } catch (err) {
    if (err.code === 401) return login();
    page.problem(err.message);
    setTimeout(start, 3000);
    return;
  }
  const mode = document.getElementById("mode");
  mode.textContent = config.write ? "can cancel" : "read-only";
  mode.dataset.mode = config.write ? "write" : "read";
  route();
}

window.addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
