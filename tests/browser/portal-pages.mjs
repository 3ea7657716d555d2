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
    // Also what pages become: a form that was refused, and the other steps of a form.
    if (pages.includes("/account")) {
      await page.goto(`${site}/account`);
      await field(page, "Current password").fill("wrong, I am afraid");
      await field(page, "New password").fill("short");
      await press(page, "Change password");
      await page.locator("[aria-invalid]").first().waitFor();
      await look("/account, refused");
    }
    if (pages.at(-1) === "/new") {
      await field(page, "Name").fill("nobody-has-it");
      await press(page, "Next");
      await page.getByRole("radio", { name: /^Another/ }).check();
      await look("/new, step 2");
      await press(page, "Next");
      await look("/new, step 3");
    }
  }
  return seen;
});
