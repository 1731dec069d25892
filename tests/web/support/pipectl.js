// The real binary, run on a pipeline file of the test's own: the shipped graph with its three chains, on the embedded log.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BINARY = process.env.PIPECTL_BIN;
const PAGE = fileURLToPath(new URL("../../../dashboards/gender", import.meta.url));

/** Declares a test that needs the binary (and what else `needs` names); without it says so loudly and passes. */
export function binaryTest(name, run, needs = {}) {
  for (const [variable, value] of Object.entries({ PIPECTL_BIN: BINARY, ...needs })) {
    if (value) continue;
    console.log(`SKIPPED ${name}: set ${variable}`);
    test(name, { skip: `${variable} is not set` }, () => {});
    return;
  }
  test(name, { timeout: 90_000 }, run);
}

/** A port that is free now. */
export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** The shipped graph: counts `field`, four windows a second, and tells the sink `sink` (lines of YAML). */
export function pipeline({ port, field = "gender", rate = "40/s", repeat = true, sink = [] }) {
  return `
name: web-test
connections:
  kafka: { brokers: embedded }
pipelines:
  rows:
    - source: csv
      with: { path: rows.csv, rate: ${rate}, repeat: ${repeat} }
    - transform: select
      with: { fields: [${field}] }
    - sink: kafka
      with: { topic: keys, value: ${field} }
  count:
    - source: kafka
      with: { topic: keys, format: text }
    - window: count-by-key
      with: { key: value, size: 250ms, slide: 250ms, zero_fill: seen }
    - sink: kafka
      with: { topic: result, encode: pairs }
  dashboard:
    - source: kafka
      with: { topic: result, format: pairs }
    - sink: socketio
      with:
        listen: 127.0.0.1:${port}
        page: ${PAGE}
${sink.map((line) => `        ${line}`).join("\n")}
`;
}

/** Rows `gender,province`: of each ten, five "0", three "1", two "2"; provinces in turn. */
export function rows(count, provinces = ["北京市", "上海市"]) {
  const lines = ["gender,province"];
  for (let i = 0; i < count; i += 1) lines.push(`${"0000011122"[i % 10]},${provinces[i % provinces.length]}`);
  return `${lines.join("\n")}\n`;
}

/** A folder with the file and its data; removed with the test. Returns `start()`. */
export async function prepare(t, yaml, csv = rows(1000)) {
  const folder = await mkdtemp(join(tmpdir(), "pipectl-web-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "rows.csv"), csv);
  await writeFile(join(folder, "pipeline.yaml"), yaml);
  return () => start(t, folder);
}

/** Runs the binary and waits until its page answers. Returns `{stop, told}`. */
async function start(t, folder) {
  const child = spawn(BINARY, ["run", "pipeline.yaml"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  let told = "";
  child.stderr.on("data", (text) => { told += text; });
  const ended = once(child, "exit");
  t.after(() => child.kill("SIGKILL"));
  const port = /127\.0\.0\.1:(\d+)/.exec(await readFile(join(folder, "pipeline.yaml"), "utf8"))[1];
  const url = `http://127.0.0.1:${port}/`;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the binary ended: ${told}`);
    try {
      await fetch(url);
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return {
    url,
    told: () => told,
    /** Sends the signal and returns `[exit code, milliseconds]`. */
    async stop(signal = "SIGINT") {
      const from = performance.now();
      child.kill(signal);
      const [code] = await ended;
      return [code, performance.now() - from];
    },
  };
}
