// Numbers and times as people read them.

const grouped = new Intl.NumberFormat("en");
const NONE = "–";

/** Three digits that count: 1.23, 12.3, 123. */
function threeDigits(value) {
  if (value >= 99.95) return grouped.format(Math.round(value));
  if (value >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

function duration(micros) {
  if (micros === null || micros === undefined) return NONE;
  if (micros < 999.5) return `${Math.round(micros)} µs`;
  if (micros < 999_500) return `${threeDigits(micros / 1e3)} ms`;
  return `${threeDigits(micros / 1e6)} s`;
}

function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return NONE;
  if (perSecond === 0) return "0";
  if (perSecond < 9.95) return perSecond.toFixed(1);
  if (perSecond < 99_950) return grouped.format(Math.round(perSecond));
  if (perSecond < 999_500) return `${threeDigits(perSecond / 1e3)} k`;
  return `${threeDigits(perSecond / 1e6)} M`;
}

function count(number) {
  return number === null || number === undefined ? NONE : grouped.format(number);
}

function percent(share) {
  if (share === null || share === undefined) return NONE;
  if (share === 0) return "0 %";
  if (share < 0.001) return "< 0.1 %";
  return share < 0.0995 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}

function bytes(number) {
  if (number === null || number === undefined) return NONE;
  if (number < 1024) return `${number} B`;
  if (number < 1024 * 1024) return `${threeDigits(number / 1024)} KiB`;
  return `${threeDigits(number / 1024 / 1024)} MiB`;
}

function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A span in its two largest units: 3 d 4 h. */
function span(millis) {
  const seconds = Math.floor(millis / 1000);
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  let rest = seconds;
  const parts = [];
  for (const [name, size] of units) {
    const amount = Math.floor(rest / size);
    rest %= size;
    if (amount > 0 || (name === "s" && parts.length === 0)) parts.push(`${amount} ${name}`);
  }
  return parts.slice(0, 2).join(" ");
}

const sameDay = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const otherDay = new Intl.DateTimeFormat("en-GB", { dateStyle: "short", timeStyle: "medium" });

function clock(millis) {
  const at = new Date(millis);
  return (at.toDateString() === new Date().toDateString() ? sameDay : otherDay).format(at);
}
