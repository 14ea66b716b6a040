// What was sent lately, and what follows from the difference of two of it.

/** Seconds for which everything is kept: the longest window of the tables. */
const KEPT_SECONDS = 60;
/** Seconds that the charts show. */
const CHART_SECONDS = 300;

const kept = { samples: [], chart: [] };

/** Takes what was sent in. Starts afresh with another process: it counts from 0. */
function remember(sample) {
  const { samples, chart } = kept;
  const last = samples.at(-1);
  if (last && sample.status.uptimeMs < last.status.uptimeMs) {
    samples.length = 0;
    chart.length = 0;
  }
  const before = samples.at(-1);
  samples.push(sample);
  while (sample.atMs - samples[0].atMs > (KEPT_SECONDS + 1) * 1000) samples.shift();
  if (!before) return;
  const window = windowOf(before, sample);
  chart.push({ atMs: sample.atMs, ...summary(window) });
  while (sample.atMs - chart[0].atMs > CHART_SECONDS * 1000) chart.shift();
}

/** The window of so many seconds, or "all"; null before there is one. */
function currentWindow(seconds) {
  const { samples } = kept;
  const now = samples.at(-1);
  if (!now) return null;
  if (seconds === "all") return windowOf(null, now);
  if (samples.length < 2) return null;
  const since = now.atMs - seconds * 1000 - 500;
  return windowOf(
    samples.find((sample) => sample.atMs >= since),
    now,
  );
}

/** The last second or so. */
function lastWindow() {
  const [before, now] = kept.samples.slice(-2);
  return now ? windowOf(before, now) : null;
}

function windowOf(before, now) {
  const millis = before ? now.atMs - before.atMs : now.status.uptimeMs;
  return { before, now, seconds: Math.max(millis, 1) / 1000 };
}

function byName(list, name) {
  return list?.find((entry) => entry.name === name);
}

/** How much a count has grown. One that is smaller than before has begun again. */
function grown(before, now) {
  const was = before ?? 0;
  return now >= was ? now - was : now;
}

function stepsOf(window, kind, name) {
  const now = window.now.durations[kind][name] ?? [];
  return stepsBetween(window.before?.durations[kind][name] ?? [], now);
}

function sumOf(sample, count) {
  return sample ? sample.status.workers.reduce((sum, worker) => sum + worker[count], 0) : 0;
}

/** All requests of a window. */
function summary(window) {
  const { before, now, seconds } = window;
  const names = Object.keys(now.durations.services);
  const steps = stepsTogether(names.map((name) => stepsOf(window, "services", name)));
  const exchanges = grown(sumOf(before, "exchanges"), sumOf(now, "exchanges"));
  const failed = grown(sumOf(before, "failures"), sumOf(now, "failures"));
  const services = now.status.services.map((service) => serviceIn(window, service.name));
  const serverErrors = services.reduce((sum, service) => sum + service.classes[5], 0);
  return {
    steps,
    rate: exchanges / seconds,
    exchanges,
    failed,
    serverErrors,
    micros: services.reduce((sum, service) => sum + service.micros, 0),
    p50: quantile(steps, 0.5),
    p99: quantile(steps, 0.99),
  };
}

function serviceIn(window, name) {
  const { before, now, seconds } = window;
  const [was, is] = [byName(before?.status.services, name), byName(now.status.services, name)];
  const classes = (is?.responses ?? []).map((total, at) => grown(was?.responses[at], total));
  const steps = stepsOf(window, "services", name);
  const requests = classes.reduce((sum, added) => sum + added, 0);
  return {
    classes: classes.length ? classes : [0, 0, 0, 0, 0, 0],
    requests,
    rate: requests / seconds,
    micros: grown(was?.timeTotalMicros, is?.timeTotalMicros ?? 0),
    upstream: upstreamIn(was?.upstream, is?.upstream),
    tunnels: is?.tunnels ?? null,
    split: is?.split ? splitIn(was?.split, is.split) : null,
    mirrored: grownByName(was?.mirrored, is?.mirrored),
    p50: quantile(steps, 0.5),
    p99: quantile(steps, 0.99),
  };
}

/** What was sent to a service's endpoints; null of one that has none. */
function upstreamIn(was, is) {
  if (!is) return null;
  const tries = grownByName(was?.requests, is.requests);
  return {
    tries: tries.reduce((sum, [, added]) => sum + added, 0),
    failed: tries.find(([outcome]) => outcome === "failed")?.[1] ?? 0,
    errors: grownByName(was?.errors, is.errors),
    retries: grown(was?.retries, is.retries),
    connections: is.connections,
  };
}

/** Which part of a split got how many of the requests. */
function splitIn(was, is) {
  return is.map((part) => {
    const before = was?.find((other) => other.service === part.service);
    return { ...part, added: grown(before?.requests, part.requests) };
  });
}

/** Those of the counts that have grown. */
function grownByName(was, is) {
  return Object.entries(is ?? {})
    .map(([name, total]) => [name, grown(was?.[name], total)])
    .filter(([, added]) => added > 0);
}

/** `micros`: of all requests of the window together. */
function pluginIn(window, name, micros) {
  const { before, now, seconds } = window;
  const [was, is] = [byName(before?.status.plugins, name), byName(now.status.plugins, name)];
  const steps = stepsOf(window, "plugins", name);
  const calls = grown(was?.executions, is?.executions ?? 0);
  const errors = grownByName(was?.errors, is?.errors);
  const own = grown(was?.timeTotalMicros, is?.timeTotalMicros ?? 0);
  return {
    calls,
    rate: calls / seconds,
    errors: errors.reduce((sum, [, added]) => sum + added, 0),
    errorsByKind: errors,
    p50: quantile(steps, 0.5),
    p99: quantile(steps, 0.99),
    // Requests count when they end, calls before that: a share may be a little over.
    share: calls === 0 || micros === 0 ? null : Math.min(own / micros, 1),
    memory: is?.memoryBytes ?? null,
    instances: is?.instances ?? null,
    active: is?.instancesActive ?? null,
    total: is,
  };
}
