// The panel works without this. With it, pages follow what happens, keys work, and agents can be talked to.
"use strict";

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

// Nothing that comes from a server is ever read as markup, except whole pages of this one.
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// What somebody else wrote, with what cannot be seen as its number.
function visible(text) {
  const hidden = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u00a0\u115f\u1160\u2000-\u200a\u202f\u205f\u2800\u3164\ufe00-\ufe0f\uffa0]/gu;
  return String(text).replace(hidden, (c) => (c === "\n" || c === "\t" ? c : `\\u{${c.codePointAt(0).toString(16)}}`));
}

// What somebody should know before they believe what they see.
function warnings(text) {
  const found = [];
  if (visible(text) !== String(text)) found.push("It has characters that cannot be seen, shown as their numbers.");
  const mixes = (word) => /\p{Script=Latin}/u.test(word) && /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\uff01-\uff5e]/u.test(word);
  if (String(text).split(/[^\p{L}\p{N}_]+/u).some(mixes)) found.push("It has letters that look like others.");
  return found;
}

// ---- The name of whoever decides, where nobody is asked who they are.

const NAME = "kern-name";
const nameField = one("#name");

function fillNames() {
  const name = localStorage.getItem(NAME) || "";
  if (nameField && document.activeElement !== nameField) nameField.value = name;
  for (const field of all("[data-name]")) if (!field.value) field.value = name;
}

if (nameField) {
  nameField.addEventListener("input", () => {
    localStorage.setItem(NAME, nameField.value.trim());
    for (const field of all("[data-name]")) field.value = nameField.value.trim();
  });
}
document.addEventListener("input", (event) => {
  if (event.target.matches("[data-name]")) localStorage.setItem(NAME, event.target.value.trim());
});
fillNames();

// ---- What is shown follows what happens.

const title = document.title;
const offline = one("#offline");
let refreshing = false;
let again = false;

function counted() {
  const count = one("[data-live]")?.dataset.count;
  document.title = count && count !== "0" ? `(${count}) ${title}` : title;
}

const FOCUSABLE = "a, button, input, pre";

const rowOf = (row, live) => (row ? all("[data-row]", live).find((other) => other.dataset.row === row) : live);

// Where the focus is, as it can be found in another version of the same page. `null`: it is elsewhere.
function heldIn(live) {
  const focused = document.activeElement;
  if (!live.contains(focused)) return null;
  const row = focused.closest("[data-row]")?.dataset.row;
  return { row, place: all(FOCUSABLE, rowOf(row, live)).indexOf(focused) };
}

function focusAgain(live, held) {
  const row = held && rowOf(held.row, live);
  if (row) all(FOCUSABLE, row)[held.place]?.focus({ preventScroll: true });
}

async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const now = one("[data-live]");
    const then = one("[data-live]", fresh);
    if (!now || !then) return;
    const chosen = new Set(all("input[type=checkbox]:checked", now).map((box) => `${box.name} ${box.value}`));
    const here = one(".row.here", now)?.dataset.row;
    const held = heldIn(now);
    now.replaceWith(document.adoptNode(then));
    for (const box of all("input[type=checkbox]", then)) box.checked = chosen.has(`${box.name} ${box.value}`);
    if (here) {
      const row = all("[data-row]", then).find((row) => row.dataset.row === here);
      if (row) row.classList.add("here");
    }
    focusAgain(then, held);
    counted();
    fillNames();
  } catch {
    // The stream says when the server is back.
  } finally {
    refreshing = false;
    if (again) {
      again = false;
      setTimeout(refresh, 200);
    }
  }
}

if (one("[data-live]")) {
  counted();
  let wasLost = false;
  const events = new EventSource("/approvals/events");
  for (const name of ["requested", "voted", "edited", "resolved", "expired", "cancelled", "deleted", "executing", "executed", "unknown", "settled", "blocked"]) {
    events.addEventListener(name, refresh);
  }
  // What happened after the page was made and before anybody listened is told by none of them.
  events.addEventListener("open", () => {
    offline.hidden = true;
    wasLost = false;
    refresh();
  });
  events.addEventListener("error", () => {
    wasLost = true;
    // A listener that was let go comes back at once: only who cannot is told.
    setTimeout(() => {
      if (wasLost) offline.hidden = false;
    }, 2000);
  });
  // Spans like "3 min ago" grow old.
  setInterval(() => {
    if (!document.hidden && !one("[data-live] :focus")) refresh();
  }, 30000);
}

// ---- Keys.

function rows() {
  return all(".rows .row");
}

function move(by) {
  const list = rows();
  if (!list.length) return;
  const at = list.findIndex((row) => row.classList.contains("here"));
  const next = at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(Math.max(at + by, 0), list.length - 1);
  list.forEach((row, place) => row.classList.toggle("here", place === next));
  one(".open", list[next]).focus({ preventScroll: true });
  list[next].scrollIntoView({ block: "nearest" });
}

function decide(word) {
  const link = one(`[data-key="${word[0]}"]`);
  if (link) {
    link.click();
    return;
  }
  const form = one("#many");
  if (!form) return;
  const here = one(".row.here");
  if (!all("input[type=checkbox]:checked", form).length && here) {
    const box = one("input[type=checkbox]", here);
    if (box) box.checked = true;
  }
  if (!all("input[type=checkbox]:checked", form).length) return;
  one(`button[value="${word === "approve" ? "approved" : "rejected"}"]`, form)?.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.target;
  if (target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const help = one("#help");
  if (help.open) return;
  const here = one(".row.here");
  const known = {
    j: () => move(1),
    k: () => move(-1),
    x: () => {
      const box = here && one("input[type=checkbox]", here);
      if (box) box.checked = !box.checked;
    },
    a: () => decide("approve"),
    r: () => decide("reject"),
    e: () => {
      const link = one('[data-key="e"]');
      if (link) link.click();
      else if (here && one("input[type=checkbox]", here)) location.href = `${one(".open", here).href}?do=edit`;
    },
    "/": () => one("#search")?.focus(),
    "?": () => help.showModal(),
  }[event.key];
  if (known) {
    event.preventDefault();
    known();
  }
});

document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.(".rows .row");
  if (row) rows().forEach((other) => other.classList.toggle("here", other === row));
});

// ---- Talking to an agent.

const chat = one("#chat");

// The events of a stream, as they come.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

function talk() {
  const log = one("#log");
  const form = one("#say");
  const message = one("#message");
  let session = chat.dataset.session || crypto.randomUUID();
  const secrets = JSON.parse(chat.dataset.secrets);
  const isSecret = (tool, name) => secrets[one("#agent").value]?.[tool.tool_name]?.includes(name);

  const body = (fields) => {
    const form = new URLSearchParams(fields);
    form.set("session_id", session);
    const name = localStorage.getItem(NAME);
    if (nameField && name) form.set("user_id", name);
    return form;
  };

  const add = (className, ...parts) => {
    const said = element("div", undefined, `said ${className}`);
    said.append(...parts);
    log.append(said);
    said.scrollIntoView({ block: "end" });
    return said;
  };

  async function post(path, fields) {
    const response = await fetch(path, { method: "POST", body: body(fields) });
    if (response.ok) return response;
    let what = `The server answered ${response.status}.`;
    try {
      const problem = await response.json();
      what = typeof problem.detail === "string" ? problem.detail : JSON.stringify(problem.detail);
    } catch {
      // It was no problem that it could describe.
    }
    throw new Error(what);
  }

  function args(tool) {
    const list = element("dl", undefined, "arguments");
    for (const [name, value] of Object.entries(tool.tool_args || {})) {
      if (isSecret(tool, name)) {
        list.append(element("dt", visible(name)), element("dd", "(sensitive, not shown)"));
        continue;
      }
      const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
      const shown = element("dd");
      shown.append(element("pre", visible(text)), ...warnings(text).map((what) => element("p", what, "warning")));
      list.append(element("dt", visible(name)), shown);
    }
    return list;
  }

  // A form that asks what a call waits for, and gives the requirement with the answer in it. `null`: it is decided elsewhere.
  function question(requirement, answered) {
    const tool = requirement.tool_execution;
    const made = element("form", undefined, "ask");
    made.append(element("b", tool.tool_name), args(tool));
    const buttons = element("div", undefined, "actions");
    const finish = (change) => {
      change();
      made.inert = true;
      answered(requirement);
    };
    const button = (text, className, change) => {
      const made = element("button", text, className);
      made.type = "button";
      made.addEventListener("click", () => finish(change));
      buttons.append(made);
    };
    if (tool.approval_type === "required") {
      const link = element("a", "Awaiting approval");
      link.href = `/panel/approvals/${encodeURIComponent(tool.approval_id)}`;
      const state = element("p", undefined, "state");
      state.append(link);
      made.append(state);
    }
    if (tool.user_feedback_schema?.length) {
      const fields = tool.user_feedback_schema.map((question) => {
        const set = element("fieldset");
        set.append(element("legend", visible(question.question)));
        const boxes = (question.options || []).map((option) => {
          const label = element("label");
          const box = element("input");
          box.type = question.multi_select ? "checkbox" : "radio";
          box.name = question.question;
          label.append(box, visible(` ${option.label}${option.description ? `: ${option.description}` : ""}`));
          set.append(label);
          return [option, box];
        });
        made.append(set);
        return [question, boxes];
      });
      button("Answer", "yes", () => {
        for (const [question, boxes] of fields) {
          const chosen = boxes.filter(([, box]) => box.checked).map(([option]) => option.label);
          question.selected_options = chosen;
          for (const [option, box] of boxes) option.selected = box.checked;
        }
        tool.answered = true;
      });
    } else if (tool.requires_user_input) {
      const fields = (tool.user_input_schema || []).map((field) => {
        const label = element("label", visible(`${field.name}${field.description ? `: ${field.description}` : ""}`));
        const input = element("input");
        if (field.value !== null && field.value !== undefined) input.value = typeof field.value === "string" ? field.value : JSON.stringify(field.value);
        label.append(input);
        made.append(label);
        return [field, input];
      });
      button("Send", "yes", () => {
        for (const [field, input] of fields) {
          const isText = !field.field_type || field.field_type === "str" || field.field_type === "string";
          try {
            field.value = isText ? input.value : JSON.parse(input.value);
          } catch {
            field.value = input.value;
          }
        }
        tool.answered = true;
      });
    } else if (tool.external_execution_required) {
      const label = element("label", "What it gave");
      const input = element("textarea");
      label.append(input);
      made.append(label);
      button("Send the result", "yes", () => {
        tool.result = input.value;
      });
    } else if (tool.requires_confirmation && tool.approval_type !== "required") {
      button("Approve", "yes", () => {
        requirement.confirmation = true;
        tool.confirmed = true;
      });
      button("Reject", "no", () => {
        requirement.confirmation = false;
        tool.confirmed = false;
      });
    }
    if (buttons.children.length) made.append(buttons);
    return [made, buttons.children.length > 0];
  }

  const pause = () => new Promise((done) => setTimeout(done, 1000));

  function paused(agent, event) {
    const runPath = `/agents/${encodeURIComponent(agent)}/runs/${encodeURIComponent(event.run_id)}`;
    const sent = [];
    let left = 0;
    for (const requirement of event.requirements || []) {
      const [made, asks] = question(requirement, (answered) => {
        sent.push(answered);
        left -= 1;
        if (left === 0) goOn(agent, runPath, sent);
      });
      if (asks) left += 1;
      add("call", made);
    }
    if (left === 0) later(runPath);
  }

  // The answers are given once nothing waits for anybody else.
  async function goOn(agent, runPath, sent) {
    const fields = { requirements: JSON.stringify(sent), stream: "true" };
    for (;;) {
      const run = await standing(runPath);
      if (run && (await decided(run))) break;
      await pause();
    }
    follow(agent, post(`${runPath}/continue`, fields));
  }

  // Whether every approval that a run waits for is decided.
  async function decided(run) {
    for (const tool of run.tools || []) {
      if (tool.approval_type !== "required" || !tool.approval_id) continue;
      try {
        const response = await fetch(`/approvals/${encodeURIComponent(tool.approval_id)}/status`);
        if (!response.ok || (await response.json()).status === "pending") return false;
      } catch {
        return false;
      }
    }
    return true;
  }

  // A run as it stands. `null`: it is not known now.
  async function standing(runPath) {
    try {
      const response = await fetch(`${runPath}?${new URLSearchParams({ session_id: session })}`);
      return response.ok ? await response.json() : null;
    } catch {
      return null;
    }
  }

  // What is decided elsewhere lets the run go on by itself.
  async function later(runPath) {
    for (;;) {
      await pause();
      const run = await standing(runPath);
      if (!run || run.status === "PAUSED" || run.status === "RUNNING") continue;
      for (const tool of run.tools || []) {
        if (tool.result) add("call", element("b", tool.tool_name), element("pre", visible(tool.result)));
      }
      add("agent", element("pre", visible(run.content || run.status)));
      return;
    }
  }

  async function follow(agent, answer) {
    let text = null;
    try {
      for await (const event of eventsOf(await answer)) {
        if (event.event === "RunContent" && event.content) {
          text ??= add("agent", element("pre", ""));
          text.firstChild.textContent += visible(event.content);
        } else if (event.event === "ToolCallStarted") {
          text = null;
          const tool = event.tool || {};
          add("call", element("b", tool.tool_name), args(tool));
        } else if (event.event === "ToolCallCompleted" && event.tool) {
          add("call", element("b", event.tool.tool_name), element("pre", visible(event.tool.result ?? "")));
        } else if (event.event === "RunPaused") {
          paused(agent, event);
        } else if (event.event === "RunError") {
          add("call", element("p", visible(event.content || "The run failed."), "warning"));
        } else if (event.event === "RunCancelled") {
          add("call", element("p", "The run was cancelled."));
        } else if (event.event === "RunCompleted" && !text && event.content) {
          add("agent", element("pre", visible(event.content)));
        }
      }
    } catch (error) {
      add("call", element("p", `${error.message} What ran is kept: see its session.`, "warning"));
    }
    form.inert = false;
    message.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = message.value.trim();
    if (!said) return;
    one("#greeting")?.remove();
    add("user", element("p", "you", "role"), element("pre", visible(said)));
    message.value = "";
    form.inert = true;
    const agent = one("#agent").value;
    const path = `/agents/${encodeURIComponent(agent)}/runs`;
    follow(agent, post(path, { message: said, stream: "true" }));
  });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
}

if (chat) talk();
