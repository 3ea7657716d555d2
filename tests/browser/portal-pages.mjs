// Looks at pages: axe-core, the policy, the console, and how much was sent.
//
// Parameters: { site, password, people: [{ email, pages: [path] }] }. Without an address somebody is signed out.
import { faultsOf, firstPaint, weight } from "./axe.mjs";
import { drive, field, press, signIn } from "./browser.mjs";

drive(async ({ site, password, people, person }) => {
  const seen = [];
  for (const { email, pages } of people) {
    const { page, faults } = await person();
    if (email) await signIn(page, site, email, password);
    const look = async (name) => {
      const found = [...(await faultsOf(page)), ...faults.splice(0)];
      seen.push({ page: name, faults: found, weight: await weight(page), paint: await firstPaint(page) });
    };
    for (const path of pages) {
      await page.goto(site + path);
      await look(path);
    }
    if (!email) continue;
    // Also what pages become: the other steps of a form, and a form that was refused.
    await page.goto(`${site}/account`);
    await field(page, "Current password").fill("wrong, I am afraid");
    await field(page, "New password").fill("short");
    await press(page, "Change password");
    await page.locator("[aria-invalid]").first().waitFor();
    await look("/account, refused");
    await page.goto(`${site}/new`);
    for (const step of [2, 3]) {
      if ((await page.locator("[data-wizard]").count()) === 0) break;
      if (step === 2) await field(page, "Name").fill("nobody-has-it");
      await press(page, "Next");
      if (step === 2) await page.getByRole("radio", { name: /^Another/ }).check();
      await look(`/new, step ${step}`);
    }
  }
  return seen;
});
