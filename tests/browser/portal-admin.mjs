// The journey of an admin, beside a user whose session ends, and an invited guest.
//
// Parameters: { site, admin, user, guest, password, newPassword }. The user has an instance "bob", another account has "alice".
import { drive, field, follow, press, signIn } from "./browser.mjs";

drive(async ({ site, admin, user, guest, password, newPassword, person }) => {
  const [boss, theirs, one, two] = [await person(), await person(), await person(), await person()];
  const { page } = boss;
  const seen = {};
  const where = (page) => new URL(page.url()).pathname;
  const rows = () => page.locator("tbody th").allInnerTexts();

  await signIn(page, site, admin, password);
  await follow(page, "Admin");
  seen.all = await rows();
  await page.getByLabel("Search by name or owner").fill("bo");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  seen.found = await rows();
  seen.foundAt = new URL(page.url()).search;
  await page.goto(`${site}/admin`);
  await follow(page, "Owner");
  await page.locator('th[aria-sort="ascending"]').waitFor();
  const ascending = await rows();
  await follow(page, "Owner");
  await page.locator('th[aria-sort="descending"]').waitFor();
  seen.sorted = [ascending, await rows()];

  seen.headings = [];
  for (const name of ["Operations", "Machine", "Alerts", "Accounts"]) {
    await page.getByRole("navigation", { name: "Admin" }).getByRole("link", { name }).click();
    seen.headings.push(await page.getByRole("heading", { level: 1 }).innerText());
  }

  // A suspended user is signed out at once, and can sign in again when the admin resumes the account.
  await signIn(theirs.page, site, user, password);
  await page.getByLabel("Search by e-mail").fill(user);
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await follow(page, user);
  await press(page, "Suspend");
  await page.getByText("The account is suspended").waitFor();
  await theirs.page.goto(`${site}/instances`);
  seen.suspended = where(theirs.page);
  await field(theirs.page, "E-mail").fill(user);
  await field(theirs.page, "Password").fill(password);
  await theirs.page.getByRole("button", { name: "Sign in", exact: true }).click();
  seen.keptOut = await theirs.page.getByRole("alert").first().innerText();
  await press(page, "Resume the account");
  await page.getByText("The account is active again.").waitFor();
  await signIn(theirs.page, site, user, password);
  seen.again = where(theirs.page);

  // A link to set a password works once.
  await press(page, "Create a reset link");
  const reset = await page.locator("code.once").innerText();
  await one.page.goto(reset);
  await field(one.page, "New password").fill(newPassword);
  await press(one.page, "Save and sign in");
  await one.page.waitForURL(`${site}/instances`);
  await theirs.page.goto(`${site}/instances`);
  seen.othersOut = where(theirs.page);
  seen.resetTwice = (await two.page.goto(reset)).status();
  await press(one.page, "Sign out");

  // An invitation works once.
  await follow(page, "Invites");
  await press(page, "Create a link");
  const invitation = await page.locator("code.once").innerText();
  await page.goto(`${site}/admin/invites`);
  seen.shownOnce = (await page.content()).includes(invitation);
  await one.page.goto(invitation);
  await two.page.goto(invitation);
  const accept = async (page, email) => {
    await field(page, "E-mail").fill(email);
    await field(page, "Password").fill(password);
    await press(page, "Create my account");
    await page.waitForLoadState();
  };
  await accept(one.page, guest);
  await one.page.waitForURL(`${site}/new`);
  await accept(two.page, `another-${guest}`);
  seen.invitedTwice = await two.page.getByRole("heading", { level: 1 }).innerText();
  seen.faults = [boss, theirs, one].flatMap(({ faults }) => faults).filter((fault) => !fault.includes("status of 4"));
  return seen;
});
