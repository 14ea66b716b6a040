// The charts, on canvases: a line of rates, a map of latencies over time, a curve of percentiles.

/** A canvas made ready for its size and screen: its context, width and height in CSS pixels. */
function surface(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return { context, width, height };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Seconds that the charts show: a minute at first, more as there is more. */
function chartSeconds(chart) {
  const had = chart.length ? (chart.at(-1).atMs - chart[0].atMs) / 1000 : 0;
  return Math.min(Math.max(had, 60), CHART_SECONDS);
}

/** Where a time is on an axis that ends with the last second. */
function timeScale(chart, left, right) {
  const [nowMs, span] = [chart.at(-1)?.atMs ?? 0, chartSeconds(chart) * 1000];
  return (atMs) => right - ((nowMs - atMs) / span) * (right - left);
}

function drawRates(canvas, chart) {
  const { context, width, height } = surface(canvas);
  if (chart.length < 2) return;
  const most = Math.max(...chart.map((second) => second.rate), 1);
  const x = timeScale(chart, 0, width);
  const y = (value) => height - 1 - (value / most) * (height - 3);
  context.beginPath();
  for (const second of chart) context.lineTo(x(second.atMs), y(second.rate));
  context.strokeStyle = colour("accent");
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(x(chart[0].atMs), height);
  context.globalAlpha = 0.12;
  context.fillStyle = colour("accent");
  context.fill();
  context.globalAlpha = 1;
  canvas.setAttribute("aria-label", `Requests per second, at most ${rate(most)} lately`);
}

/** A scale of durations for these steps: whole decades around them. */
function durationScale(steps, top, bottom) {
  const first = steps.length ? stepStart(steps[0][0]) : 100;
  const last = steps.length ? stepStart(steps.at(-1)[0] + 1) : 10_000;
  let [low, high] = [Math.floor(Math.log10(first)), Math.ceil(Math.log10(last))];
  if (high - low < 2) [low, high] = [Math.max(low - 1, 0), high + (low < 1 ? 1 : 0)];
  const y = (micros) =>
    bottom - ((Math.log10(Math.max(micros, 1)) - low) / Math.max(high - low, 1)) * (bottom - top);
  const decades = Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
  return { y, decades };
}

const AXIS = { left: 52, right: 8, top: 8, bottom: 20 };

function drawDecades(context, scale, width) {
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const micros of scale.decades) {
    const y = Math.round(scale.y(micros)) + 0.5;
    context.fillStyle = colour("line");
    context.fillRect(AXIS.left, y - 0.5, width - AXIS.left - AXIS.right, 1);
    context.fillStyle = colour("muted");
    context.fillText(decade(micros), AXIS.left - 8, y);
  }
}

/** 1, 10 or 100 of a unit. */
function decade(micros) {
  if (micros < 1e3) return `${micros} µs`;
  return micros < 1e6 ? `${micros / 1e3} ms` : `${micros / 1e6} s`;
}

function drawMap(canvas, chart) {
  const { context, width, height } = surface(canvas);
  const bottom = height - AXIS.bottom;
  const scale = durationScale(stepsTogether(chart.map((second) => second.steps)), AXIS.top, bottom);
  drawDecades(context, scale, width);
  const x = timeScale(chart, AXIS.left, width - AXIS.right);
  drawTimes(context, chart, x, bottom + 6, width);
  drawCells(context, chart, scale, x);
  drawLine(context, chart, "p99", scale, x);
  drawLine(context, chart, "p50", scale, x);
  const last = chart.at(-1);
  const now = last ? `now p50 ${duration(last.p50)}, p99 ${duration(last.p99)}` : "nothing yet";
  canvas.setAttribute("aria-label", `Latency of all requests in the last five minutes: ${now}`);
  mapPlaces = { x, bottom, width };
}

function drawTimes(context, chart, x, y, width) {
  const [nowMs, seconds] = [chart.at(-1)?.atMs ?? 0, chartSeconds(chart)];
  const most = Math.max(Math.floor((width - AXIS.left) / 70), 1);
  const step = [10, 15, 30, 60, 120].find((each) => seconds / each <= most) ?? 300;
  context.textBaseline = "top";
  context.fillStyle = colour("muted");
  for (let ago = 0; ago <= seconds - step / 3; ago += step) {
    const words = ago % 60 === 0 ? `−${ago / 60} min` : `−${ago} s`;
    context.textAlign = ago === 0 ? "right" : "center";
    context.fillText(ago === 0 ? "now" : words, x(nowMs - ago * 1000), y);
  }
}

function drawCells(context, chart, scale, x) {
  const most = Math.max(...chart.map((second) => Math.max(0, ...second.steps.map((s) => s[1]))), 1);
  context.fillStyle = colour("heat");
  chart.forEach((second, at) => {
    const left = chart[at - 1]
      ? Math.max(x(chart[at - 1].atMs), x(second.atMs - 2500))
      : x(second.atMs - 1000);
    if (left < AXIS.left) return;
    for (const [step, added] of second.steps) {
      const [low, high] = [scale.y(stepStart(step)), scale.y(stepStart(step + 1))];
      context.globalAlpha = 0.12 + 0.78 * (Math.log(1 + added) / Math.log(1 + most));
      context.fillRect(
        left,
        high,
        Math.max(x(second.atMs) - left, 1) + 0.3,
        Math.max(low - high, 2),
      );
    }
  });
  context.globalAlpha = 1;
}

function drawLine(context, chart, key, scale, x) {
  context.beginPath();
  let before = null;
  for (const second of chart) {
    if (second[key] === null) {
      before = null;
      continue;
    }
    const [at, y] = [x(second.atMs), scale.y(second[key])];
    if (before !== null && second.atMs - before < 5000) context.lineTo(at, y);
    else context.moveTo(at, y);
    before = second.atMs;
  }
  context.strokeStyle = colour(key);
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
}

let mapPlaces = null;

/** The second of the map that is under the pointer. */
function secondAt(offsetX, chart) {
  if (!mapPlaces) return null;
  return chart.find((second) => mapPlaces.x(second.atMs) >= offsetX) ?? null;
}

const PERCENTILES = [
  [0.5, "50"],
  [0.9, "90"],
  [0.99, "99"],
  [0.999, "99.9"],
  [0.9999, "99.99"],
];

/** Each further nine is as far as the one before: the tail is what there is to see. */
function drawCurve(canvas, steps) {
  const { context, width, height } = surface(canvas);
  const bottom = height - AXIS.bottom;
  const scale = durationScale(steps, AXIS.top, bottom);
  drawDecades(context, scale, width);
  const nines = (share) => -Math.log10(1 - Math.min(share, 0.9999));
  const room = width - AXIS.left - AXIS.right;
  const x = (share) => AXIS.left + (nines(share) / 4) * room;
  context.fillStyle = colour("muted");
  context.textBaseline = "top";
  for (const [share, label] of PERCENTILES) {
    context.textAlign = share > 0.999 ? "right" : "center";
    context.fillText(`${label} %`, x(share), bottom + 6);
  }
  if (steps.length === 0) return canvas.setAttribute("aria-label", "No requests yet");
  context.beginPath();
  for (let at = 0; at <= 200; at += 1) {
    const share = 1 - 10 ** ((-4 * at) / 200);
    context.lineTo(x(share), scale.y(quantile(steps, share)));
  }
  context.strokeStyle = colour("accent");
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(x(0.9999), bottom);
  context.lineTo(AXIS.left, bottom);
  context.globalAlpha = 0.1;
  context.fillStyle = colour("accent");
  context.fill();
  context.globalAlpha = 1;
  const figures = PERCENTILES.map(
    ([share, label]) => `${label} % ${duration(quantile(steps, share))}`,
  );
  canvas.setAttribute("aria-label", `Percentiles of latency: ${figures.join(", ")}`);
}
