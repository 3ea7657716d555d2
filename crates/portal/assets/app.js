// What pages do beyond plain HTML. Every page works without this script.
const $ = (query, root = document) => root.querySelector(query);
const $$ = (query, root = document) => [...root.querySelectorAll(query)];
const show = (element, on = true) => (element.hidden = !on);

// Announce changes to screen readers: pages carry one [data-say], #say is the live region.
let said = $("[data-say]")?.dataset.say;
const say = (text) => {
  if (text && text !== said) $("#say").textContent = said = text;
};

// Show or hide the content of a password field.
for (const button of $$("[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  const label = input.labels[0].firstChild.textContent.trim();
  const set = (shown) => {
    input.type = shown ? "text" : "password";
    button.textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-label", `${button.textContent} ${label}`);
  };
  button.addEventListener("click", () => set(input.type === "password"));
  // Browsers save only the content of fields of type "password".
  input.form.addEventListener("submit", () => set(false));
  set(false);
  show(button);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = (button.dataset.label ??= button.innerHTML);
  const done = await navigator.clipboard.writeText(button.dataset.copy).then(() => true, () => false);
  button.textContent = done ? "Copied" : "Mark and copy it";
  say(button.textContent);
  setTimeout(() => (button.innerHTML = label), 2000);
});
if (navigator.clipboard) $$("[data-copy]").forEach((button) => show(button));

// Submit a form once, even on a double click.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if ($("[aria-busy]", event.target)) return event.preventDefault();
  event.submitter?.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => $$("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy")));

// Focus the first invalid field of a rejected form.
const wizard = $("[data-wizard]");
if (!wizard) $("[aria-invalid]")?.focus();

// What was entered in a long form is kept across a reload and Back, in this tab until it is sent, without secrets: of those, only that there were some.
const kept = (() => {
  try {
    return JSON.parse(sessionStorage.getItem("new"));
  } catch {
    return null; // The browser forbids it.
  }
})();
if (!wizard && kept?.sent) sessionStorage.removeItem("new");

// Steps of a long form, one at a time.
if (wizard) {
  const fields = $$("[data-keep]", wizard);
  const secrets = $$("[data-secret]", wizard);
  const needed = (secret) => secret.id !== "key" || !$('[name="provider"][value="none"]', wizard).checked;
  const property = (field) => (/radio|checkbox/.test(field.type) ? "checked" : "value");
  let again = [];
  const keep = (sent = false) => {
    again = again.filter((secret) => !secret.value);
    const given = secrets.filter((s) => s.value || again.includes(s)).map((s) => s.id);
    const values = fields.map((field) => field[property(field)]);
    try {
      sessionStorage.setItem("new", JSON.stringify({ values, given, sent }));
    } catch {}
  };
  // Puts back what was kept. Returns the step to show: not one after a secret that has to be entered again.
  const restore = (wanted) => {
    if (kept?.values?.length !== fields.length) return 0;
    fields.forEach((field, i) => (field[property(field)] = kept.values[i]));
    again = secrets.filter((s) => kept.given.includes(s.id) && !s.value && needed(s));
    for (const secret of again) {
      $(`#${secret.id}-error`).textContent = "Enter it again: it was not kept, because it is secret.";
    }
    return Math.min(wanted, ...again.map((s) => steps.findIndex((step) => step.contains(s))));
  };
  const steps = $$("[data-step]", wizard);
  const [back, next, submit] = ["back", "next", "submit"].map((b) => $(`[data-wizard-${b}]`, wizard));
  const last = steps.length - 1;
  const go = (to, focus = true) => {
    at = Math.min(to, last);
    steps.forEach((step, i) => show(step, i === at));
    show(back, at > 0);
    show(next, at < last);
    show(submit, at === last);
    $("[data-wizard-text]", wizard).textContent = `Step ${at + 1} of ${steps.length}`;
    $("[data-wizard-bar]", wizard).setAttribute("width", at + 1);
    if (focus) $("legend", steps[at]).focus();
    scrollTo(0, 0);
  };
  // Each step is an entry of the browser's history, so Back leads to the step before.
  const move = (to) => {
    history.pushState({ step: to, from: at }, "");
    go(to);
  };
  const forward = () => {
    const taken = $("#name-answer .bad", steps[at]);
    const input = $$("input", steps[at]).find((i) => taken || !i.checkValidity());
    if (!input) return move(at + 1);
    if (!taken) $(`#${input.id}-error`).textContent = input.value ? input.title : input.dataset.missing;
    input.setAttribute("aria-invalid", "true");
    input.focus();
  };
  wizard.addEventListener("input", ({ target }) => {
    // Names are lowercase.
    const small = target.value.toLowerCase().replace(/[\s_]/g, "-");
    if (target.name === "name" && target.value !== small) target.value = small;
    target.removeAttribute("aria-invalid");
    const line = document.getElementById(`${target.id}-error`);
    if (line) line.textContent = "";
  });
  const first = Math.max(0, steps.findIndex((step) => $("[aria-invalid]", step)));
  let at = first;
  addEventListener("popstate", ({ state }) => go(state?.step ?? (location.hash ? at : first)));
  back.addEventListener("click", () => (history.state?.from === at - 1 ? history.back() : move(at - 1)));
  wizard.addEventListener("input", () => keep());
  next.addEventListener("click", forward);
  wizard.addEventListener("submit", (event) => {
    if (at === last) return keep(true);
    event.preventDefault();
    event.stopPropagation();
    forward();
  });
  show($("[data-wizard-at]", wizard));
  // A rejected form comes with its values, and begins at the rejected step.
  const rejected = $("[aria-invalid]", wizard) || $("#name").defaultValue;
  go(rejected ? first : restore(history.state?.step ?? 0), false);
  // The entry is of the step that it shows now.
  if (history.state) history.replaceState({ step: at }, "");
  if (rejected) keep();
  $("[aria-invalid]", steps[at])?.focus();
}

// Passkeys. Binary fields are sent as base64url.
const swap = (text, from, to) => [...text].map((c) => (from.includes(c) ? to[from.indexOf(c)] : c)).join("");
const bytes = (text) => Uint8Array.from(atob(swap(text, "-_", "+/")), (c) => c.charCodeAt(0));
const text = (buffer) => swap(btoa(String.fromCharCode(...new Uint8Array(buffer))), "+/=", ["-", "_", ""]);
const post = async (path, body) => {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.title || "Something went wrong. Try again.");
  return answer;
};
// Gets the challenge, lets the device sign it, and sends the result.
const passkey = async (verb, path, body, query = "") => {
  const { publicKey } = await post(`${path}/begin`, body);
  publicKey.challenge = bytes(publicKey.challenge);
  if (publicKey.user) publicKey.user.id = bytes(publicKey.user.id);
  for (const list of ["allowCredentials", "excludeCredentials"]) publicKey[list]?.forEach((c) => (c.id = bytes(c.id)));
  const { id, rawId, type, response } = await navigator.credentials[verb]({ publicKey });
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const parts = names.filter((name) => response[name]).map((name) => [name, text(response[name])]);
  return post(`${path}/finish${query}`, { id, rawId: text(rawId), type, extensions: {}, response: Object.fromEntries(parts) });
};
const ways = {
  async "sign-in"({ dataset }) {
    const { next } = await passkey("get", "/passkeys/sign-in", {}, `?next=${encodeURIComponent(dataset.next)}`);
    const to = new URL(next || "/instances", location.origin);
    location.assign(to.origin === location.origin ? to : "/instances");
  },
  async add() {
    await passkey("create", "/account/passkeys", { name: $("#passkey-name").value.trim() });
    location.reload();
  },
};
const failures = {
  NotAllowedError: "No passkey was used. Try again.",
  InvalidStateError: "This device has a passkey already.",
};
for (const button of window.PublicKeyCredential ? $$("[data-passkey]") : []) {
  const box = button.closest("[data-passkey-box]");
  const error = $("[data-passkey-error]", box);
  button.addEventListener("click", async () => {
    error.textContent = "";
    button.disabled = true;
    try {
      await ways[button.dataset.passkey](button);
    } catch (problem) {
      error.textContent = failures[problem.name] ?? problem.message;
    }
    button.disabled = false;
  });
  show(box);
}

// Parts with live data say when they are not up to date: from a failed or refused request, or from a stream that broke or fell silent, to the next success.
const SILENCE = 15_000;
let lost = false;
let silence;
const connection = (up) => {
  if (up !== lost || (!up && !$("[data-poll], [sse-connect]"))) return;
  lost = !up;
  document.documentElement.classList.toggle("not-live", lost);
  show($("#lost"), lost);
  say(lost ? $("#lost").textContent : $("[data-say]")?.dataset.say);
};
const hear = (source) => {
  connection(true);
  clearTimeout(silence);
  // A dead connection gives no error: end it, and let the extension connect again.
  silence = setTimeout(() => {
    source.close();
    source.onerror(new Event("error"));
  }, SILENCE);
};
addEventListener("offline", () => connection(false));
document.addEventListener("htmx:configRequest", ({ target, detail }) => {
  if (target.matches("[data-poll]")) detail.timeout = SILENCE;
});
document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
  if (target.matches("[data-poll]") && detail.xhr.status) connection(detail.xhr.status < 400);
});
for (const failed of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failed, ({ target }) => target.matches("[data-poll]") && connection(false));
}
const heard = new WeakSet();
document.addEventListener("htmx:sseOpen", ({ detail: { source } }) => {
  hear(source);
  if (heard.has(source)) return;
  heard.add(source);
  for (const event of ["alive", "progress", "lines"]) source.addEventListener(event, () => hear(source));
});
document.addEventListener("htmx:sseClose", ({ target, detail }) => {
  clearTimeout(silence);
  // It is over: nothing on the page gets old any more.
  if (detail.type === "message") target.removeAttribute("sse-connect");
});
document.addEventListener("htmx:sseError", () => {
  clearTimeout(silence);
  connection(false);
});

// Elapsed times, updated between two updates from the server.
const seen = new WeakMap();
const tick = () => {
  if (lost) return;
  for (const element of $$("[data-elapsed]")) {
    if (!seen.has(element)) seen.set(element, performance.now() - Number(element.dataset.elapsed));
    const s = (performance.now() - seen.get(element)) / 1000;
    element.textContent = s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  }
};
if ($("[data-elapsed]")) setInterval(tick, 100);

// Live parts: no request while the page is hidden, or while the user selects or has the focus in the part; no swap without a change.
document.addEventListener("htmx:beforeRequest", (event) => {
  const [part, focus, selection] = [event.target, document.activeElement, getSelection()];
  if (!part.matches("[data-poll]")) return;
  const reading = !selection.isCollapsed && part.contains(selection.anchorNode);
  if (document.hidden || (!lost && (reading || (part.contains(focus) && !focus.id)))) event.preventDefault();
});
let scrolled = [];
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  // Signed out meanwhile: the response is another page.
  if (new URL(detail.xhr.responseURL).pathname !== detail.pathInfo.requestPath.split("?")[0]) {
    detail.shouldSwap = false;
    if (detail.elt.matches("[data-poll]")) location.reload();
    return;
  }
  scrolled = $$(".scroll", detail.target).map((box) => box.scrollLeft);
  if (!detail.elt.matches("[data-poll]")) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = detail.serverResponse;
  if (fresh.innerHTML.trim() === detail.target.innerHTML.trim()) detail.shouldSwap = false;
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target) $$(".scroll", detail.target).forEach((box, i) => (box.scrollLeft = scrolled[i] ?? 0));
  // Keep the phase of running animations, such as spinners.
  document.getAnimations().forEach((animation) => (animation.startTime = 0));
  tick();
  say($("[data-say]")?.dataset.say);
});

// Logs: bounded; scrolled only when at the bottom; new lines are held back while paused.
const log = $("[data-log]");
if (log) {
  const most = Number(log.dataset.log);
  const button = $("[data-log-pause]");
  const state = $("[data-log-state]");
  let [held, paused, bottom, on, was] = [[], false, true, false, false];
  const note = () => {
    const text = paused ? (held.length ? "New lines are waiting" : "Paused") : on ? "Live" : was ? "Reconnecting…" : "Connecting…";
    if (state.textContent !== text) state.textContent = text;
  };
  const bound = () => {
    while (log.childElementCount > most) log.firstElementChild.remove();
    if (bottom) log.scrollTop = log.scrollHeight;
  };
  log.scrollTop = log.scrollHeight;
  log.addEventListener("scroll", () => (bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 24));
  log.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (!paused) return;
    event.preventDefault();
    held = [...held, event.detail.data].slice(-most);
    note();
  });
  log.addEventListener("htmx:sseMessage", bound);
  for (const name of ["Open", "Error", "Close"]) {
    log.addEventListener(`htmx:sse${name}`, () => ((on = name === "Open"), note()));
  }
  // A stream begins with new lines: after a break, those between are missing.
  log.addEventListener("htmx:sseOpen", () => {
    const gap = "<span>(The connection was lost: lines may be missing here. Reload the page to see them.)</span>";
    if (was && paused) held.push(gap);
    else if (was) log.insertAdjacentHTML("beforeend", gap);
    was = true;
    bound();
  });
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    if (!paused) log.insertAdjacentHTML("beforeend", held.splice(0).join(""));
    bound();
    note();
  });
  show(button);
  note();
}
