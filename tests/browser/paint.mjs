// Measures the time to first paint: on our pages, on OpenClaw's own, and on a page with one line of text.
//
// Parameters: { site, email, password, pages: [path], name, origin, rounds }: the user owns instance `name` at `origin`. Returns, for each address,
// milliseconds in a browser with no cache but cookies (`fresh`), and at the next visit (`again`).
import { firstPaint } from "./axe.mjs";
import { drive, press, signIn } from "./browser.mjs";

drive(async ({ site, email, password, pages, name, origin, rounds, person }) => {
  const owner = await person();
  await signIn(owner.page, site, email, password);
  await owner.page.goto(`${site}/instances/${name}`);
  await press(owner.page, /^Open/);
  await owner.page.waitForURL((url) => url.origin === origin && !url.pathname.startsWith("/.startclaw"));
  const storageState = await owner.context.storageState();
  await owner.context.close();

  const addresses = [...pages.map((path) => site + path), `${origin}/`, `${origin}/healthz`];
  const found = addresses.map((address) => ({ address, fresh: [], again: [] }));
  for (let round = 0; round < rounds; round++) {
    for (const { address, fresh, again } of found) {
      const { context, page } = await person({ storageState });
      for (const times of [fresh, again]) {
        await page.goto(address);
        times.push(await firstPaint(page));
      }
      await context.close();
    }
  }
  return found;
});
