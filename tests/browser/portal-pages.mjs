// Checks pages: axe-core, the policy, the console, transferred bytes, and layout shifts.
//
// Parameters: { site, password, people: [{ email, pages: ["PATH" or "PATH, STATE"] }] }. Without an address the user is signed out. Asks the test to
// make alice { log } a line.
import { faultsOf, firstPaint, weight } from "./axe.mjs";
import { drive, field, outside, press, signIn } from "./browser.mjs";
import { comeAndStay, unexcused } from "./jumps.mjs";

// States of pages: a rejected or checked form, its other steps, and a live log.
async function refused(page) {
  await field(page, "Current password").fill("wrong, I am afraid");
  await field(page, "New password").fill("short");
  await press(page, "Change password");
  await page.locator("[aria-invalid]").first().waitFor();
}
async function nameAnswered(page) {
  await field(page, "Name").fill("nobody-has-it");
  await page.locator("#name-answer .good").waitFor();
}
async function secondStep(page) {
  await nameAnswered(page);
  await press(page, "Next");
  await page.getByRole("radio", { name: /^Custom/ }).check();
}
async function thirdStep(page) {
  await secondStep(page);
  await press(page, "Next");
}
async function tokenAnswered(page) {
  await thirdStep(page);
  await unexcused(page);
  await field(page, "Bot token (optional)").fill("123456789:AAE");
  await field(page, "Bot token (optional)").blur();
  await page.locator("#telegram-answer", { hasText: "." }).waitFor();
}
// Two new lines, one shown and one held back. No mouse clicks: shifts just after a click would not count.
async function linesCame(page) {
  await outside({ log: "A line that is shown." });
  await page.locator("#log").getByText("A line that is shown.").first().waitFor();
  await page.getByRole("button", { name: "Pause" }).dispatchEvent("click");
  await outside({ log: "A line that waits." });
  await page.getByText("New lines are waiting").waitFor();
}
const BECOMES = {
  "refused": refused,
  "name answered": nameAnswered,
  "step 2": secondStep,
  "step 3": thirdStep,
  "token answered": tokenAnswered,
  "lines came": linesCame,
};

drive(async ({ site, password, people, person }) => {
  const seen = [];
  for (const { email, pages } of people) {
    const { context, page, faults } = await person();
    if (email) await signIn(page, site, email, password);
    for (const name of pages) {
      const [path, become] = name.split(", ");
      const reach = async (page) => {
        // A form that was begun in this tab would continue.
        if (page.url().startsWith(site)) await page.evaluate(() => sessionStorage.clear());
        await page.goto("about:blank");
        await page.goto(site + path);
        if (become) await BECOMES[become](page);
      };
      await comeAndStay(context, reach);
      await reach(page);
      const found = [...(await faultsOf(page)), ...faults.splice(0)];
      seen.push({ page: name, faults: found, weight: await weight(page), paint: await firstPaint(page) });
    }
  }
  return seen;
});
