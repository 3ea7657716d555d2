// Takes screenshots of the main pages, at desktop and phone size, for the README.
//
// Parameters: { site, admin, email, password, baseUrl, key, token, folder }.
import { drive, field, follow, press, signIn } from "./browser.mjs";

const SIZES = { desktop: { width: 1120, height: 760 }, phone: { width: 390, height: 760 } };

drive(async ({ site, admin, email, password, baseUrl, key, token, folder, person }) => {
  const { page } = await person({ viewport: SIZES.desktop });
  const picture = async (page, name) => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      await page.screenshot({ path: `${folder}/${name}-${size}.png`, animations: "disabled", caret: "hide" });
    }
    await page.setViewportSize(SIZES.desktop);
  };

  await page.goto(site);
  await picture(page, "front");
  await follow(page, "Get your OpenClaw");
  await field(page, "E-mail").fill(email);
  await field(page, "Password").fill(password);
  await press(page, "Create my account");
  await field(page, "Name").fill("alice");
  await page.locator("#name-answer .good").waitFor();
  await press(page, "Next");
  await picture(page, "onboarding");
  await page.getByRole("radio", { name: /^Custom/ }).check();
  await field(page, "Server URL").fill(baseUrl);
  await field(page, "Model").fill("echo-1");
  await field(page, "API key").fill(key);
  await press(page, "Next");
  await field(page, "Bot token (optional)").fill(token);
  await press(page, "Create my OpenClaw");
  await page.locator(".step.now", { hasText: "Starting OpenClaw" }).waitFor();
  await picture(page, "progress");
  await follow(page, "Manage alice");
  await press(page, "Back up now");
  await follow(page, "Manage alice");
  // Usage is sampled once a minute.
  await page.waitForTimeout(90_000);
  await page.reload();
  await picture(page, "instance");

  const boss = await person({ viewport: SIZES.desktop });
  await signIn(boss.page, site, admin, password);
  await boss.page.goto(`${site}/admin`);
  await picture(boss.page, "admin");
});
