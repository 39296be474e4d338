// Screenshots for the documentation: `npm run shots`, with LARDER_BIN naming the program. They go to docs/.

import { fileURLToPath } from "node:url";
import { openPage, startBrowser, startService } from "./service.js";

/** Until the lines are long enough to look at. */
const SECONDS = Number(process.env.SECONDS ?? 75);
const docs = fileURLToPath(new URL("../../docs/", import.meta.url));

const [service, browser] = await Promise.all([startService(), startBrowser()]);
await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
for (const [name, options] of [
  ["dashboard-light", { colorScheme: "light", viewport: { width: 1280, height: 1180 } }],
  ["dashboard-dark", { colorScheme: "dark", viewport: { width: 1280, height: 1690 } }],
  ["dashboard-phone", { colorScheme: "light", viewport: { width: 360, height: 740 } }],
]) {
  const { page, context } = await openPage(browser, service.origin, options);
  await page.waitForSelector("#hot .key");
  await page.fill("#wanted", "80");
  await page.locator("#hot .key").nth(2).click();
  await page.waitForSelector("#told .adds");
  await page.evaluate(() => {
    document.activeElement.blur();
    scrollTo(0, 0);
  });
  await page.waitForTimeout(1200);
  await page.screenshot({ path: `${docs}${name}.png` });
  await context.close();
}
await browser.close();
await service.stop();
