// Opens a sign-in link and says whether the Control UI comes up, signed in and connected.
//
// Parameters: { link, origin, otherOrigin }. otherOrigin is another instance's address, which
// the same browser must not get into.
import { chromium } from "playwright-core";

const { link, origin, otherOrigin } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  // The certificates come from a private authority that this browser does not know.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const sockets = [];
  page.on("websocket", (socket) => {
    const seen = { url: socket.url(), received: 0, closed: false };
    socket.on("framereceived", () => seen.received++);
    socket.on("close", () => (seen.closed = true));
    sockets.push(seen);
  });

  await page.goto(link, { waitUntil: "load" });
  if (page.url().includes("/.startclaw/enter")) {
    await Promise.all([page.waitForURL((url) => !url.pathname.startsWith("/.startclaw")), page.click("button")]);
  }
  // Connected is: the socket stays open and the page got more than its greeting.
  const deadline = Date.now() + 60_000;
  while (!sockets.some((s) => s.received >= 3 && !s.closed) && Date.now() < deadline) {
    await page.waitForTimeout(100);
  }
  await page.waitForLoadState("networkidle").catch(() => {});
  const text = await page.evaluate(() => {
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
  const cookies = (await context.cookies()).map(({ name, domain, secure, httpOnly, sameSite, path }) => ({
    name, domain, secure, httpOnly, sameSite, path,
  }));
  if (process.env.STARTCLAW_SCREENSHOTS) {
    await page.screenshot({ path: `${process.env.STARTCLAW_SCREENSHOTS}/control-ui.png` });
  }

  // The same link again, in a fresh browser: it was used.
  const stranger = await browser.newContext({ ignoreHTTPSErrors: true });
  const again = await stranger.newPage();
  await again.goto(link);
  if ((await again.locator("button").count()) > 0) {
    await Promise.all([again.waitForLoadState("load"), again.click("button")]);
  }
  const usedTwice = new URL(again.url()).pathname === "/" && (await stranger.cookies()).length > 0;

  // The neighbour: with the cookies of this browser, and with the cookie carried over by hand.
  const other = await (await context.newPage()).goto(otherOrigin);
  const mine = await context.cookies(origin);
  const thief = await browser.newContext({ ignoreHTTPSErrors: true });
  await thief.addCookies(mine.map(({ name, value }) => ({ name, value, url: otherOrigin, secure: true })));
  const carried = await (await thief.newPage()).goto(otherOrigin);

  console.log(
    JSON.stringify({
      url: page.url(),
      title: await page.title(),
      text: text.slice(0, 4000),
      sockets,
      cookies,
      usedTwice,
      otherStatus: other.status(),
      carriedStatus: carried.status(),
    }),
  );
} finally {
  await browser.close();
}
