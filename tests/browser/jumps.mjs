// Nothing on our pages may jump under the reader's eyes: neither as a page comes, nor when live data arrive. What moves
// within half a second of somebody's input is what they asked for; the browser tells that apart.
import { SIZES, THEMES } from "./looks.mjs";

// Notes what jumps on all pages of ours that a browser context opens.
export async function noteJumps(context, site, jumps) {
  await context.exposeBinding("noteJump", (_, jump) => jumps.push(jump));
  await context.addInitScript(watchJumps, site);
}

// Runs in each page before anything else.
function watchJumps(site) {
  // OpenClaw's own pages are not ours to judge.
  if (location.origin !== site) return;
  const name = (node) => {
    const element = node instanceof Element ? node : node?.parentElement;
    if (!element) return "what is gone";
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

// What a page would ask for in a minute it asks for in a second.
function hurry() {
  const wait = window.setTimeout;
  window.setTimeout = (run, time, ...rest) => wait(run, Math.min(time, 1000), ...rest);
}

// Waits until nothing is excused any more by a click that was: it is for half a second.
export const unexcused = (page) => page.waitForTimeout(600);

// Comes to a page again in every size and theme, and stays until live data have arrived. `reach` brings a tab there.
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
      // What moved is known when the frame after it was drawn.
      const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      await page.evaluate(drawn);
      await page.evaluate(() => window.steady.note());
      await page.close();
    }),
  );
}
