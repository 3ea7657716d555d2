// Attacks by a tenant's pages on a visitor who is signed in to the portal.
//
// Parameters: { site, evil, email, password }. The origin `evil` is a sibling subdomain, whose pages this script provides.
import { drive, signIn } from "./browser.mjs";

const SESSION = "__Host-startclaw";

drive(async ({ site, evil, email, password, person }) => {
  const { hostname } = new URL(site);
  const seen = {};
  const lure = async ({ context }) => {
    await context.route(`${evil}/**`, (route) => route.fulfill({ contentType: "text/html", body: "<p>Hello" }));
    const page = await context.newPage();
    await page.goto(evil);
    return page;
  };
  const session = async ({ context }) => (await context.cookies(site)).filter((c) => c.name === SESSION).map((c) => c.value);
  // All ways to plant a cookie that the portal would read.
  const plant = (page) =>
    page.evaluate(
      ({ name, hostname }) => {
        for (const cookie of [
          `${name}=planted; Path=/; Secure`,
          `${name}=planted; Path=/; Secure; Domain=${hostname}`,
          `${name}=planted; Path=/instances; Secure; Domain=${hostname}`,
          `${name.toLowerCase()}=planted; Path=/; Secure; Domain=${hostname}`,
          `=${name}=planted; Path=/; Secure; Domain=${hostname}`,
          `${name.slice(7)}=planted; Path=/; Secure; Domain=${hostname}`,
        ]) document.cookie = cookie;
      },
      { name: SESSION, hostname },
    );

  const victim = await person();
  await signIn(victim.page, site, email, password);
  const before = await session(victim);
  const page = await lure(victim);

  // Reading.
  seen.cookie = await page.evaluate(() => document.cookie);
  seen.read = await page.evaluate(
    (site) => fetch(`${site}/account`, { credentials: "include" }).then((r) => r.text(), () => "refused"),
    site,
  );

  // Planting, on a signed-in user and on one who is about to sign in.
  await plant(page);
  seen.kept = JSON.stringify(await session(victim)) === JSON.stringify(before);
  await victim.page.goto(`${site}/account`);
  seen.stillIn = new URL(victim.page.url()).pathname;
  const fresh = await person();
  await plant(await lure(fresh));
  await signIn(fresh.page, site, email, password);
  const fixed = await session(fresh);
  seen.fixed = fixed.length !== 1 || fixed[0] === "planted";

  // Forms, a fetch that needs no preflight, and a link that a form follows.
  const post = async (path) => {
    const form = await lure(victim);
    const [answer] = await Promise.all([
      form.waitForResponse((r) => r.request().method() === "POST"),
      form.evaluate((to) => {
        const form = document.createElement("form");
        Object.assign(form, { method: "post", action: to });
        document.body.append(form);
        form.submit();
      }, site + path),
    ]);
    return answer.status();
  };
  seen.posted = [];
  for (const path of ["/instances/alice/restart", "/account/sessions/end-others", "/sign-out"]) {
    seen.posted.push(await post(path));
  }
  seen.fetched = await page.evaluate(
    (site) =>
      fetch(`${site}/instances/alice/backup`, { method: "POST", mode: "no-cors", credentials: "include" }).then(
        () => "answered",
        () => "refused",
      ),
    site,
  );
  await victim.page.goto(`${site}/account`);
  seen.afterPosts = new URL(victim.page.url()).pathname;

  // Framing.
  await page.evaluate((site) => {
    const frame = document.createElement("iframe");
    frame.src = `${site}/account`;
    document.body.append(frame);
    return new Promise((resolve) => (frame.onload = resolve));
  }, site);
  seen.framed = page.frames()[1].url();
  return seen;
});
