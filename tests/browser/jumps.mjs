// No layout shifts on our pages: neither while a page loads, nor when live data arrive. Shifts within half a second of user input are expected; the
// browser reports those separately.
import { SIZES, THEMES } from "./looks.mjs";

// Records layout shifts on all pages of the portal in a browser context.
export async function noteJumps(context, site, jumps) {
  await context.exposeBinding("noteJump", (_, jump) => jumps.push(jump));
  await context.addInitScript(watchJumps, site);
}

// Runs in each page before its scripts.
function watchJumps(site) {
  // OpenClaw's own pages are not checked.
  if (location.origin !== site) return;
  const name = (node) => {
    const element = node instanceof Element ? node : node?.parentElement;
    if (!element) return "a removed element";
    return [element.localName, ...(element.id ? [`#${element.id}`] : []), ...[...element.classList].map((c) => `.${c}`)].join("");
  };
  const place = ({ x, y, width, height }) => `${width}×${height} at ${x},${y}`;
  const note = (entries) => {
    for (const { hadRecentInput, value, sources } of entries) {
      if (hadRecentInput) continue;
      const moved = sources.map((s) => `${name(s.node)} from ${place(s.previousRect)} to ${place(s.currentRect)}`);
      window.noteJump(`${location.pathname}, ${innerWidth} px wide, by ${value.toFixed(4)}: ${moved.join("; ")}`);
    }
  };
  const observer = new PerformanceObserver((list) => note(list.getEntries()));
  observer.observe({ type: "layout-shift", buffered: true });
  const live = new Set();
  for (const came of ["htmx:afterRequest", "htmx:sseOpen"]) {
    document.addEventListener(came, ({ target }) => live.add(target));
  }
  window.steady = {
    isLive: () => [...document.querySelectorAll("[data-poll], [sse-connect]")].every((part) => live.has(part)),
    note: () => note(observer.takeRecords()),
  };
  addEventListener("pagehide", window.steady.note);
}

// Requests that a page sends within a minute are sent within a second.
function hurry() {
  const wait = window.setTimeout;
  window.setTimeout = (run, time, ...rest) => wait(run, Math.min(time, 1000), ...rest);
}

// Waits until no shift is excused by an earlier click any more: that lasts half a second.
export const unexcused = (page) => page.waitForTimeout(600);

// Opens a page again in every size and theme, and stays until live data have arrived. `reach` navigates a tab there.
export async function comeAndStay(context, reach) {
  const looks = Object.values(SIZES).flatMap((viewport) => THEMES.map((colorScheme) => ({ viewport, colorScheme })));
  await Promise.all(
    looks.map(async ({ viewport, colorScheme }) => {
      const page = await context.newPage();
      await page.addInitScript(hurry);
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await reach(page);
      await page.waitForFunction(() => window.steady.isLive());
      // A shift is reported after the next frame was drawn.
      const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      await page.evaluate(drawn);
      await page.evaluate(() => window.steady.note());
      await page.close();
    }),
  );
}
