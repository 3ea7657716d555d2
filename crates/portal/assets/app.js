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

// Steps of a long form, one at a time.
if (wizard) {
  const steps = $$("[data-step]", wizard);
  const [back, next, submit] = ["back", "next", "submit"].map((b) => $(`[data-wizard-${b}]`, wizard));
  const last = steps.length - 1;
  const go = (to, focus = true) => {
    at = to;
    steps.forEach((step, i) => show(step, i === at));
    show(back, at > 0);
    show(next, at < last);
    show(submit, at === last);
    $("[data-wizard-text]", wizard).textContent = `Step ${at + 1} of ${steps.length}`;
    $("[data-wizard-bar]", wizard).setAttribute("width", at + 1);
    if (focus) $("legend", steps[at]).focus();
    scrollTo(0, 0);
  };
  const forward = () => {
    const taken = $("#name-answer .bad", steps[at]);
    const input = $$("input", steps[at]).find((i) => taken || !i.checkValidity());
    if (!input) return go(at + 1);
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
  let at = Math.max(0, steps.findIndex((step) => $("[aria-invalid]", step)));
  back.addEventListener("click", () => go(at - 1));
  next.addEventListener("click", forward);
  wizard.addEventListener("submit", (event) => {
    if (at === last) return;
    event.preventDefault();
    event.stopPropagation();
    forward();
  });
  show($("[data-wizard-at]", wizard));
  go(at, false);
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

// Elapsed times, updated between two updates from the server.
const seen = new WeakMap();
const tick = () => {
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
  if (document.hidden || reading || (part.contains(focus) && !focus.id)) event.preventDefault();
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
  let [held, paused, bottom, on] = [[], false, true, false];
  const note = () => {
    const text = paused ? (held.length ? "New lines are waiting" : "Paused") : on ? "Live" : "Connecting…";
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
