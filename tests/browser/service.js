// The service under test: the demonstration with its page on a free port, and a browser that reaches nothing else.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Starts it. */
export const startService = (options = []) => start(["demo", "--serve", "127.0.0.1:0", "--rate", "4000", "--workers", "32", ...options]);

/** Starts a page of instances that run elsewhere. */
export const startPage = (instances) => start(["serve", ...instances, "--listen", "127.0.0.1:0"]);

/** Runs `LARDER_BIN`, the program. Resolves with the address of its page, the token where there is one, and a way to end it. */
async function start(words) {
  const program = process.env.LARDER_BIN;
  if (!program) throw new Error("LARDER_BIN must name the larder program");
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const said = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    const found = /^Dashboard: (http:\/\/\S+?)\/(?:#token=([0-9a-f]{32}))?$/.exec(line);
    if (!found) continue;
    child.stderr.resume();
    const stop = async (signal = "SIGINT") => {
      child.kill(signal);
      await ended;
    };
    return { origin: found[1], token: found[2], stop };
  }
  throw new Error(`the service said no address:\n${said.join("\n")}`);
}

export async function startBrowser() {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find(existsSync);
  return chromium.launch({ executablePath, args: FLAGS });
}

/** A page, with what went wrong on it: messages on the console, errors, requests to other origins. */
export async function openPage(browser, origin, { hash = "", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) wrong.push(`a request left: ${request.url()}`);
  });
  await page.goto(`${origin}/${hash}`);
  await page.waitForFunction(() => document.documentElement.dataset.at);
  return { page, context, wrong };
}

/** A report of the service. */
export const report = async (origin) => (await fetch(`${origin}/report`)).json();

/** Waits until the service's report is as `wanted` says. */
export async function until(origin, wanted) {
  for (;;) {
    const frame = await report(origin);
    if (wanted(frame)) return frame;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
