// How the page counts and writes numbers, without a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

const part = (name) =>
  readFileSync(new URL(`../../src/control/admin/dashboard/${name}`, import.meta.url), "utf8");
const names = [
  ...["duration", "rate", "percent", "bytes", "span", "quantile", "stepsBetween", "stepsTogether"],
  ...["remember", "currentWindow", "summary", "pluginIn", "serviceIn", "kept"],
];
const load = () =>
  new Function(
    `${["format.js", "durations.js", "history.js"].map(part).join("")}; return {${names}};`,
  )();

/** Durations as the gateway sends them. */
function steps(micros) {
  const counts = new Map();
  for (const each of micros) {
    const step = Math.floor(16 * Math.log2(each));
    counts.set(step, (counts.get(step) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/** A document after so many seconds: one service, one plugin. */
function sample(second, { requests, failed = 0, micros, plugin, errors = 0, upstream }) {
  const responses = [0, 0, requests.length - failed, 0, 0, failed];
  return {
    atMs: 1_000_000 + second * 1000,
    status: {
      uptimeMs: second * 1000 + 500,
      workers: [{ worker: 0, exchanges: requests.length, failures: failed, connectionsShed: 0 }],
      services: [{ name: "s", responses, timeTotalMicros: micros, upstream }],
      plugins: [
        {
          name: "p",
          executions: plugin.length,
          errors: { trap: errors, timeout: 0 },
          timeTotalMicros: plugin.reduce((sum, each) => sum + each, 0),
        },
      ],
    },
    durations: { services: { s: steps(requests) }, plugins: { p: steps(plugin) } },
  };
}

describe("figures", () => {
  test("numbers are written with three digits and a unit", () => {
    const { duration, rate, percent, bytes, span } = load();
    for (const [written, expected] of [
      [duration(null), "–"],
      [duration(7), "7 µs"],
      [duration(999.6), "1.00 ms"],
      [duration(12_345), "12.3 ms"],
      [duration(999_600), "1.00 s"],
      [duration(61_000_000), "61.0 s"],
      [rate(0), "0"],
      [rate(0.25), "0.3"],
      [rate(12_345.6), "12,346"],
      [rate(123_456), "123 k"],
      [percent(0), "0 %"],
      [percent(0.0004), "< 0.1 %"],
      [percent(0.0123), "1.2 %"],
      [percent(1), "100 %"],
      [bytes(640 * 1024), "640 KiB"],
      [bytes(3 * 1024 * 1024), "3.00 MiB"],
      [span(400), "0 s"],
      [span(90_000), "1 min 30 s"],
      [span(2 * 86_400_000 + 3_600_000), "2 d 1 h"],
    ]) {
      assert.equal(written, expected);
    }
  });

  test("quantiles are within 5 % of the exact ones", () => {
    const { quantile } = load();
    let state = 7;
    const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
    for (const spread of [1, 10, 1000]) {
      const micros = Array.from({ length: 20_000 }, () =>
        Math.ceil(50 + spread * 50 * random() ** 3),
      );
      const sorted = [...micros].sort((a, b) => a - b);
      for (const share of [0.1, 0.5, 0.9, 0.99, 0.999]) {
        const exact = sorted[Math.ceil(share * sorted.length) - 1];
        const ratio = quantile(steps(micros), share) / exact;
        assert.ok(ratio > 0.95 && ratio < 1.05, `spread ${spread}, ${share}: ${ratio}`);
      }
    }
    assert.equal(quantile([], 0.5), null);
  });

  test("a window is the difference of its ends", () => {
    const { remember, currentWindow, summary, pluginIn, serviceIn } = load();
    const early = { requests: [100, 100], micros: 200, plugin: [50, 50] };
    const later = {
      requests: [100, 100, 1000, 1000, 1000, 1000],
      failed: 1,
      micros: 4200,
      plugin: [50, 50, 900, 900, 900],
      errors: 2,
    };
    remember(sample(1, early));
    assert.equal(currentWindow(10), null, "nothing to subtract yet");
    remember(sample(3, later));
    const window = currentWindow(10);
    const all = summary(window);
    assert.deepEqual([all.exchanges, all.rate, all.failed, all.serverErrors], [4, 2, 1, 1]);
    assert.ok(all.p50 > 900 && all.p50 < 1100, `${all.p50}: the early ones are out`);
    const plugin = pluginIn(window, "p", all.micros);
    assert.deepEqual([plugin.calls, plugin.errors, plugin.errorsByKind], [3, 2, [["trap", 2]]]);
    assert.equal(plugin.share, 2700 / 4000);
    assert.equal(pluginIn(window, "unknown", all.micros).calls, 0);
    assert.equal(serviceIn(window, "s").requests, 4);
    assert.equal(summary(currentWindow("all")).exchanges, 6);
  });

  test("what is older than the window is left out, and another process begins at 0", () => {
    const { remember, currentWindow, summary, kept } = load();
    for (let second = 1; second <= 100; second += 1) {
      const requests = Array(second * 3).fill(100);
      remember(sample(second, { requests, micros: 1, plugin: [] }));
    }
    assert.equal(summary(currentWindow(10)).exchanges, 30);
    assert.equal(summary(currentWindow(60)).exchanges, 180);
    assert.ok(kept.samples.length <= 62, `${kept.samples.length} are kept`);
    remember(sample(2, { requests: [100], micros: 1, plugin: [] }));
    assert.equal(currentWindow(10), null);
    remember(sample(3, { requests: [100, 100], micros: 1, plugin: [] }));
    assert.equal(summary(currentWindow(10)).exchanges, 1);
  });

  test("tries at a service's endpoints are counted by how they ended", () => {
    const { remember, currentWindow, serviceIn } = load();
    const upstream = (successful, failed) => ({
      requests: { "2xx": successful, failed },
      errors: { connect_failed: failed, upstream_timeout: 0 },
      retries: failed,
      connections: { open: 2, idle: 1 },
    });
    const nothing = { requests: [], micros: 0, plugin: [] };
    remember(sample(1, { ...nothing, upstream: upstream(5, 1) }));
    remember(sample(2, { ...nothing, upstream: upstream(9, 4) }));
    const { upstream: seen } = serviceIn(currentWindow(10), "s");
    assert.deepEqual(
      [seen.tries, seen.failed, seen.errors, seen.retries],
      [7, 3, [["connect_failed", 3]], 3],
    );
  });
});
