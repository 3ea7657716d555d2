// The journey of a new user: from the front page to a managed OpenClaw, and signing out.
//
// Parameters: { site, origin, email, password, baseUrl, key, token }. Asks the test to { say } something to the bot.
import { faultsOf, firstPaint, weight } from "./axe.mjs";
import { connected, disconnected, drive, field, follow, outside, press, sockets, textOf } from "./browser.mjs";

// Follows an operation on its page until it is finished. Returns what was shown.
async function watchOperation(page, done) {
  await page.waitForURL((url) => url.pathname.startsWith("/operations/"));
  const [clock, begun] = [Date.now(), await page.evaluate(() => performance.timeOrigin)];
  const seen = [];
  const deadline = Date.now() + 180_000;
  while (Date.now() < deadline) {
    const { steps, over } = await page.evaluate(() => ({
      steps: [...document.querySelectorAll(".step")].map((s) => `${s.className} ${s.querySelector(".step-label").firstChild.textContent}`).join("\n"),
      over: document.querySelector(".outcome .actions") !== null,
    }));
    if (seen.at(-1) !== steps) seen.push(steps);
    if (over) break;
    await page.waitForTimeout(50);
  }
  const state = await page.locator(".op > .state").innerText();
  if (!state.startsWith("Done")) throw new Error(`${done}: ${state}`);
  const reloaded = begun !== (await page.evaluate(() => performance.timeOrigin));
  return { seconds: (Date.now() - clock) / 1000, changes: seen.length, last: seen.at(-1).split("\n"), reloaded };
}

drive(async ({ site, origin, email, password, baseUrl, key, token, person }) => {
  const { context, page, faults } = await person();
  const seen = { sockets: [] };

  await page.goto(site);
  seen.firstPaint = await firstPaint(page);
  await follow(page, "Get your OpenClaw");
  await field(page, "E-mail").fill(email);
  await field(page, "Password").fill(password);
  await press(page, "Create my account");

  // Three steps, one at a time, each with its check.
  await page.waitForURL(`${site}/new`);
  seen.steps = [await page.locator("[data-wizard-text]").innerText()];
  await field(page, "Name").fill("Ali");
  await field(page, "Name").fill("Alice");
  seen.name = await field(page, "Name").inputValue();
  await page.locator("#name-answer .good").waitFor();
  seen.nameAnswer = await page.locator("#name-answer").innerText();
  await press(page, "Next");
  seen.steps.push(await page.locator("[data-wizard-text]").innerText());
  await page.getByRole("radio", { name: /^Custom/ }).check();
  await field(page, "Server URL").fill(baseUrl);
  await field(page, "Model").fill("echo-1");
  await field(page, "API key").fill(key);
  await field(page, "API key").blur();
  await page.locator("#key-answer .good").waitFor();
  seen.keyAnswer = await page.locator("#key-answer").innerText();
  await press(page, "Next");
  // A reload keeps what is no secret, and asks for the key again; Back leads to the step before.
  await page.reload();
  seen.reloaded = {
    step: await page.locator("[data-wizard-text]").innerText(),
    provider: await page.locator('[name="provider"]:checked').inputValue(),
    baseUrl: await field(page, "Server URL").inputValue(),
    key: await field(page, "API key").inputValue(),
    error: await page.locator("#key-error").innerText(),
    stored: await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, history.state, location.href])),
  };
  await field(page, "API key").fill(key);
  await press(page, "Next");
  await page.locator("#telegram").waitFor();
  await page.goBack();
  seen.backAt = await page.locator("[data-wizard-text]").innerText();
  seen.backKey = (await field(page, "API key").inputValue()) === key;
  await press(page, "Next");
  seen.steps.push(await page.locator("[data-wizard-text]").innerText());
  await field(page, "Bot token (optional)").fill(token);
  await field(page, "Bot token (optional)").blur();
  await page.locator("#telegram-answer .good").waitFor();
  seen.telegramAnswer = await page.locator("#telegram-answer").innerText();
  // This conversation is about backups; approval of users has its own test.
  await page.getByText("Let everyone talk to it").click();
  await page.getByRole("checkbox", { name: "Open the bot to every Telegram user" }).check();
  await press(page, "Create my OpenClaw");

  // It starts, while a second tab shows the same page.
  await page.waitForURL((url) => url.pathname.startsWith("/operations/"));
  const operation = page.url();
  const second = await context.newPage();
  const provision = watchOperation(page, "provision");
  await second.goto(operation);
  seen.liveFaults = await faultsOf(second);
  seen.liveWeight = await weight(second);
  await second.close();
  seen.provision = await provision;

  // Opens it, without another sign-in.
  const all = sockets(page);
  await press(page, "Open your OpenClaw");
  await page.waitForURL((url) => url.origin === origin && !url.pathname.startsWith("/.startclaw"));
  seen.connected = await connected(page, all);
  seen.text = await textOf(page);
  // Messages of OpenClaw's own pages are not checked.
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.startsWith(origin)));
  await outside({ say: "pelicans" });

  // Manages it. Without a connection the page says that it is not up to date, until it is again.
  const home = `${site}/instances/alice`;
  await page.goto(home);
  const before = [...faults];
  await context.setOffline(true);
  const lost = page.locator("#lost");
  await lost.waitFor();
  seen.lost = { offline: await lost.innerText() };
  await context.setOffline(false);
  await lost.waitFor({ state: "hidden" });
  const state = "**/instances/alice/state";
  await page.route(state, (route) => route.fulfill({ status: 429, body: "" }));
  await lost.waitFor();
  seen.lost.refused = await lost.innerText();
  await page.unroute(state);
  await lost.waitFor({ state: "hidden" });
  // Failed requests are in the console.
  faults.splice(0, faults.length, ...before);
  await press(page, "Restart");
  seen.restart = await watchOperation(page, "restart");
  await follow(page, "Manage alice");
  await press(page, "Back up now");
  seen.backup = await watchOperation(page, "backup");
  await outside({ say: "herons" });
  await page.goto(home);
  seen.keys = await page.locator(".secrets").innerText();
  await follow(page, "Restore");
  await page.getByRole("heading", { name: "Restore alice?" }).waitFor();
  await press(page, "Restore this backup");
  seen.restore = await watchOperation(page, "restore");
  await follow(page, "Manage alice");
  await page.locator(".state-card").getByText("Live").waitFor();
  seen.restored = await outside({ say: "storks" });

  // Signs out of both: a tab in the instance, and one on the portal.
  const inside = await context.newPage();
  const open = sockets(inside);
  seen.before = (await inside.goto(origin)).status();
  seen.inside = await connected(inside, open);
  await press(page, "Sign out");
  await page.waitForURL(`${site}/`);
  seen.cut = await disconnected(inside, open);
  seen.after = (await inside.goto(origin)).status();
  await page.goto(home);
  seen.home = new URL(page.url()).pathname;
  seen.faults = faults.filter((fault) => !fault.startsWith(origin));
  return seen;
});
