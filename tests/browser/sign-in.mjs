// Opens a sign-in link and reports whether the Control UI starts, signed in and connected.
//
// Parameters: { link, origin, otherOrigin }. otherOrigin is the address of another instance, which the same browser must not be able to open.
import { connected, drive, sockets, textOf } from "./browser.mjs";

drive(async ({ link, origin, otherOrigin, person }) => {
  const { context, page } = await person();
  const seen = sockets(page);
  await page.goto(link, { waitUntil: "load" });
  await page.waitForURL((url) => !url.pathname.startsWith("/.startclaw"));
  await connected(page, seen);
  const text = await textOf(page);
  const cookies = (await context.cookies()).map(({ name, domain, secure, httpOnly, sameSite, path }) => ({
    name, domain, secure, httpOnly, sameSite, path,
  }));

  // The same link again, in a fresh browser: it is already used.
  const stranger = await person();
  await stranger.page.goto(link);
  await stranger.page.waitForLoadState("networkidle");
  const usedTwice = new URL(stranger.page.url()).pathname === "/" && (await stranger.context.cookies()).length > 0;

  // The other instance: with the cookies of this browser, and with a copied cookie.
  const other = await (await context.newPage()).goto(otherOrigin);
  const mine = await context.cookies(origin);
  const thief = await person();
  await thief.context.addCookies(mine.map(({ name, value }) => ({ name, value, url: otherOrigin, secure: true })));
  const carried = await thief.page.goto(otherOrigin);

  return {
    url: page.url(),
    title: await page.title(),
    text: text.slice(0, 4000),
    sockets: seen,
    cookies,
    usedTwice,
    otherStatus: other.status(),
    carriedStatus: carried.status(),
  };
});
