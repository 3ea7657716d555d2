// The lifecycle of a passkey, with Chromium's virtual authenticator: added, used to sign in, removed, and then rejected.
//
// Parameters: { site, email, password }. Asks the test to { attack } the passkey of this id while it exists.
import { drive, outside, press, signIn } from "./browser.mjs";

drive(async ({ site, email, password, person }) => {
  const { context, page, faults } = await person();
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  const signInByKey = async () => {
    await page.goto(`${site}/sign-in?next=/account`);
    // No mouse click: shifts just after a click would be excused.
    await page.getByRole("button", { name: "Sign in with a passkey" }).dispatchEvent("click");
    await page.waitForFunction(
      () => location.pathname !== "/sign-in" || document.querySelector("[data-passkey-error]").textContent,
    );
    await page.waitForLoadState();
    const error = page.locator("[data-passkey-box] [data-passkey-error]");
    return new URL(page.url()).pathname === "/sign-in" ? await error.textContent() : new URL(page.url()).pathname;
  };

  await signIn(page, site, email, password);
  await page.goto(`${site}/account`);
  await page.getByLabel("Name of the new passkey").fill("My phone ☎");
  await press(page, "Add a passkey");
  const remove = page.getByRole("button", { name: "Remove My phone ☎" });
  await remove.waitFor();
  const action = await remove.locator("xpath=..").getAttribute("action");
  await press(page, "Sign out");

  const first = await signInByKey();
  await page.getByText(email).first().waitFor();
  await outside({ attack: action });
  await press(page, "Sign out");
  const second = await signInByKey();

  await page.goto(`${site}/account`);
  await remove.click();
  await page.getByText("The passkey is removed.").waitFor();
  const gone = (await remove.count()) === 0;
  await press(page, "Sign out");
  const third = await signInByKey();
  return { first, second, gone, third, faults };
});
