// Checks of every page: axe-core finds nothing serious, no policy violations, and little is sent.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SIZES, THEMES } from "./looks.mjs";

const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

// Checks the page in its current state, in both themes and sizes. Returns faults as text, an empty list if there are none.
export async function faultsOf(page) {
  const faults = [];
  // Not by a script element, which the policy forbids.
  await page.evaluate(AXE);
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const found = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
      if (found.passes.length < 10) faults.push(`${size} ${colorScheme}: axe checked nothing`);
      for (const { id, impact, nodes } of found.violations.filter((v) => ["serious", "critical"].includes(v.impact))) {
        const where = nodes.slice(0, 3).map((n) => `${n.html.slice(0, 120)} ${n.failureSummary}`);
        faults.push(`${size} ${colorScheme}: ${impact} ${id}: ${where.join(" | ")}`);
      }
    }
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wider > 0) faults.push(`${size}: ${wider} px wider than the window`);
  }
  faults.push(...(await page.evaluate(() => window.noted.violations)));
  return faults;
}

// Transferred bytes of scripts and styles.
export const weight = (page) =>
  page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .filter((r) => ["script", "link", "css"].includes(r.initiatorType))
      .reduce((sum, r) => sum + r.encodedBodySize, 0),
  );

// Milliseconds from the request to the first paint.
export const firstPaint = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) =>
        new PerformanceObserver((list) => {
          const [paint] = list.getEntriesByName("first-contentful-paint");
          if (paint) resolve(Math.round(paint.startTime));
        }).observe({ type: "paint", buffered: true }),
      ),
  );
