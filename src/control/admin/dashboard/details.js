// What is shown of one plugin when its row is opened.

const KINDS = {
  trap: "trap",
  timeout: "timeout",
  memory: "memory",
  bad_output: "bad output",
  refused: "refused",
};

function makeDetails(actions) {
  return make("div", { class: "details" }, [
    make("p", { class: "verdict" }),
    make("p", { class: "problem load-error" }),
    make("div", { class: "detail-grid" }, [
      make("section", {}, [
        make("h3", { text: "Latency since the start" }),
        make("dl", { class: "facts-list latency" }),
      ]),
      make("section", {}, [
        make("h3", { text: "Errors since the start" }),
        make("dl", { class: "facts-list kinds" }),
      ]),
      make("section", {}, [
        make("h3", { text: "As it runs" }),
        make("dl", { class: "facts-list runs" }),
      ]),
      make("section", {}, [
        make("h3", { text: "As configured" }),
        make("dl", { class: "facts-list configured" }),
      ]),
    ]),
    make("pre", { class: "config", tabindex: "0", "aria-label": "Configuration" }),
    make("div", { class: "buttons" }, actions),
  ]);
}

function setFacts(list, facts) {
  keep(
    list,
    facts,
    ([name]) => name,
    ([name]) => make("div", {}, [make("dt", { text: name }), make("dd")]),
    (line, [, value, whole]) => {
      setText(line.lastElementChild, value);
      if (whole) line.lastElementChild.title = whole;
    },
  );
}

function updateDetails(details, plugin, figures) {
  const find = (name) => details.querySelector(name);
  setText(find(".verdict"), verdict(plugin, figures));
  const error = find(".load-error");
  setText(error, plugin.error ?? "");
  error.hidden = !plugin.error;
  const total = figures.total;
  const latency = total?.latency;
  const has = latency?.count > 0;
  const micros = (value) => duration(has ? value : null);
  setFacts(find(".latency"), [
    ["Calls", count(total?.executions ?? 0)],
    ["50 %", micros(latency?.p50Micros)],
    ["90 %", micros(latency?.p90Micros)],
    ["99 %", micros(latency?.p99Micros)],
    ["99.9 %", micros(latency?.p999Micros)],
    ["Longest", micros(latency?.maxMicros)],
  ]);
  setFacts(
    find(".kinds"),
    Object.entries(KINDS).map(([kind, words]) => [words, count(total?.errors[kind] ?? 0)]),
  );
  const runs = plugin.effective;
  setFacts(find(".runs"), [
    ["When it fails", runs ? failing(runs.failureMode) : NONE],
    ["Timeout", runs ? duration(runs.timeoutMs * 1000) : NONE],
    ["Gets bodies", runs ? (runs.body ? "yes" : "no") : NONE],
    [
      "Instances",
      total ? `${count(total.instances)}, ${count(total.instancesActive)} in a call` : NONE,
    ],
    ["Thrown away", count(total?.instancesDiscarded ?? 0)],
    ["Last failure", total?.lastFailure?.text ?? NONE, total?.lastFailure?.time],
    ["Memory limit", runs ? `${bytes(runs.maxMemoryPages * 65536)} each` : NONE],
  ]);
  setFacts(find(".configured"), [
    ["Type", plugin.type],
    ["Priority", plugin.priority],
    ["Services", plugin.services.join(", ") || "all"],
    ["Paths", plugin.allowedUrls.join(", ") || "all"],
    ["File", plugin.file],
    ["SHA-256", plugin.digest ? `${plugin.digest.slice(0, 16)}…` : NONE, plugin.digest],
  ]);
  const config = find(".config");
  const isEmpty = !plugin.config || Object.keys(plugin.config).length === 0;
  config.hidden = isEmpty;
  if (!isEmpty) setText(config, JSON.stringify(plugin.config, null, 2));
}

function failing(mode) {
  return mode === "closed" ? "requests are refused" : "requests go on without it";
}

/** In a sentence, how it does. */
function verdict(plugin, figures) {
  if (plugin.status === "disabled") return "It is disabled: requests go on without it.";
  if (plugin.status === "failed") return "It could not be loaded:";
  if (figures.total?.isBackedOff)
    return "It kept failing, so it is not called for a while, then tried again.";
  if (figures.calls === 0) return `No calls ${windowWords()}.`;
  const share =
    figures.share === null
      ? ""
      : ` It takes ${percent(figures.share)} of the time of all requests.`;
  const errors = figures.errorsByKind.map(
    ([kind, added]) => `${count(added)} × ${KINDS[kind] ?? kind}`,
  );
  const failed = errors.length ? ` Errors: ${errors.join(", ")}.` : "";
  return (
    `${plural(figures.calls, "call")} ${windowWords()}: half took at most ${duration(figures.p50)}, ` +
    `99 % at most ${duration(figures.p99)}.${share}${failed}`
  );
}
