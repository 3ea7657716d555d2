// Shared by the scripts in this folder: a browser that trusts the platform's certificates, users, and what must not happen on any page.
//
// A script gets its parameters as JSON in its first argument. Each line that it prints is a message: { ask }, which waits for an answer, a line on
// standard input; or, at the end, { done }.
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { noteJumps } from "./jumps.mjs";

const parameters = JSON.parse(process.argv[2]);
// Timeout of a step on a busy host.
const PATIENCE = 60_000;

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const print = (message) => console.log(JSON.stringify(message));

// Makes the test do something outside the browser, and returns its answer.
export async function outside(ask) {
  print({ ask });
  return JSON.parse((await lines.next()).value);
}

// The browser accepts certificates of Caddy's own authority, and no other invalid ones.
function trust() {
  const { publicKey } = new X509Certificate(readFileSync(parameters.authority));
  const digest = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" }));
  return `--ignore-certificate-errors-spki-list=${digest.digest("base64")}`;
}

// Runs in each page before its scripts: records policy violations, which are invisible.
function watch() {
  window.noted = { violations: [] };
  document.addEventListener("securitypolicyviolation", (e) =>
    window.noted.violations.push(`${e.violatedDirective}: ${e.blockedURI}`),
  );
}

// Runs `script` with the parameters and a function that creates users, each with its own browser context. Fails on any layout shift on a page of the
// portal.
export async function drive(script) {
  const browser = await chromium.launch({
    executablePath: fileURLToPath(new URL("chromium", import.meta.url)),
    args: [
      trust(),
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const [pages, jumps] = [[], []];
  const person = async (options = {}) => {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    await context.addInitScript(watch);
    await noteJumps(context, parameters.site, jumps);
    const faults = [];
    context.on("page", (page) => {
      pages.push(page);
      page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
      page.on("console", (message) => {
        // The status of the page itself is checked by the script.
        const refused = message.text().startsWith("Failed to load") && message.location().url === page.url();
        if (message.type() === "error" && !refused) faults.push(`${page.url()}: ${message.text()}`);
      });
    });
    return { context, faults, page: await context.newPage() };
  };
  try {
    const done = (await script({ ...parameters, person })) ?? null;
    if (jumps.length > 0) throw new Error(`it jumped:\n${jumps.join("\n")}`);
    print({ done });
  } catch (error) {
    for (const page of pages.filter((page) => !page.isClosed())) {
      const text = await page.innerText("body", { timeout: 2000 }).catch(() => "");
      console.error(`at ${page.url()}:\n${text.slice(0, 2000)}\n`);
    }
    throw error;
  } finally {
    await browser.close();
    input.close();
  }
}

// A form field, by its label.
export const field = (page, label) => page.getByLabel(label, { exact: true });
export const press = (page, name) => page.getByRole("button", { name }).first().click();
export const follow = (page, name) => page.getByRole("link", { name }).first().click();

export async function signIn(page, site, email, password) {
  await page.goto(`${site}/sign-in`);
  await field(page, "E-mail").fill(email);
  await field(page, "Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL((url) => url.pathname !== "/sign-in");
}

// Records the WebSockets of a page.
export function sockets(page) {
  const all = [];
  page.on("websocket", (socket) => {
    const seen = { url: socket.url(), received: 0, closed: false };
    socket.on("framereceived", () => seen.received++);
    socket.on("close", () => (seen.closed = true));
    all.push(seen);
  });
  return all;
}

// Waits until the Control UI is connected: its socket stays open and received more than a greeting.
export async function connected(page, all) {
  const deadline = Date.now() + PATIENCE;
  while (!all.some((s) => s.received >= 3 && !s.closed) && Date.now() < deadline) await page.waitForTimeout(100);
  // Also for the rest, as far as it loads: some of its requests never end.
  await page.waitForLoadState("networkidle", { timeout: 5_000 }).catch(() => {});
  return all.some((s) => s.received >= 3 && !s.closed);
}

// Waits until all its sockets are closed.
export async function disconnected(page, all) {
  const deadline = Date.now() + PATIENCE;
  while (!all.every((s) => s.closed) && Date.now() < deadline) await page.waitForTimeout(50);
  return all.every((s) => s.closed);
}

// All text of a page, including that of its components.
export const textOf = (page) =>
  page.evaluate(() => {
    const all = (node) =>
      [...node.childNodes]
        .map((n) =>
          n.nodeType === Node.TEXT_NODE
            ? n.textContent
            : (n.shadowRoot ? all(n.shadowRoot) : "") + (["SCRIPT", "STYLE"].includes(n.nodeName) ? "" : all(n)),
        )
        .join(" ");
    return all(document.body).replace(/\s+/g, " ");
  });
