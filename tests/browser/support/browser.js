// A headless Chromium, one for each test file, a new profile for each test.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch(extra = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [...ARGUMENTS, ...extra],
  });
}

/** Opens the dashboard; whatever the browser complains of is in `page.complaints`. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => {
    // What the page asks for and is refused is its business to show.
    const isRefusal = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isRefusal) page.complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    page.complaints.push(`the page said ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  return page;
}

/** The browser has complained of nothing: no script failed, no policy was broken. */
export function noComplaints(page) {
  assert.deepEqual(page.complaints, []);
}

/** The luminance of the page's ground, and the texts whose contrast to theirs is below `least`. */
export function contrasts(page, least) {
  return page.evaluate((least) => {
    const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = (rgb) => {
      const linear = rgb.slice(0, 3).map((part) => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const groundOf = (element) => {
      for (let each = element; each; each = each.parentElement) {
        const rgb = parse(getComputedStyle(each).backgroundColor);
        if (rgb.length === 3 || rgb[3] === 1) return rgb;
      }
      return [255, 255, 255];
    };
    const [weak, texts] = [[], document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)];
    let seen = 0;
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      const isShown = element.checkVisibility() && element.getClientRects().length > 0;
      if (!isShown || !texts.currentNode.textContent.trim() || element.closest("script, :disabled"))
        continue;
      seen += 1;
      const [a, b] = [parse(getComputedStyle(element).color), groundOf(element)].map(luminance);
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < least) weak.push(`${texts.currentNode.textContent.trim()}: ${ratio.toFixed(2)}`);
    }
    return {
      ground: luminance(parse(getComputedStyle(document.body).backgroundColor)),
      seen,
      weak,
    };
  }, least);
}
