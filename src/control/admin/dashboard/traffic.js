// The tiles, the charts, services and workers.

function windowWords() {
  return { 10: "in the last 10 s", 60: "in the last minute", all: "since the start" }[
    chosenWindow()
  ];
}

function chosenWindow() {
  const value = document.querySelector("#window input:checked").value;
  return value === "all" ? "all" : Number(value);
}

function showTiles(window, all) {
  const last = lastWindow();
  setText(byId("rate"), rate(last?.before ? summary(last).rate : null));
  setText(byId("p50"), duration(all?.p50));
  setText(byId("p99"), duration(all?.p99));
  setText(byId("p50-note"), all ? plural(stepsCount(all.steps), "request") : "");
  const connections = window?.now.status.workers.reduce(
    (sum, worker) => sum + worker.connectionsOpen,
    0,
  );
  setText(byId("p99-note"), window ? plural(connections, "open connection") : "");
  // An exchange that fails may have answered 502: the larger of both, not their sum.
  const errors = all ? Math.max(all.failed, all.serverErrors) : null;
  setText(byId("errors"), all ? percent(all.exchanges ? errors / all.exchanges : 0) : NONE);
  byId("errors").classList.toggle("bad", errors > 0);
  setText(
    byId("errors-note"),
    all ? `${count(all.serverErrors)} × 5xx · ${count(all.failed)} failed` : "",
  );
}

function showCharts(all) {
  drawRates(byId("rate-line"), kept.chart);
  drawMap(byId("map"), kept.chart);
  const steps = all?.steps ?? [];
  drawCurve(byId("curve"), steps);
  keep(
    byId("curve-figures"),
    [
      ["50 %", 0.5],
      ["90 %", 0.9],
      ["99 %", 0.99],
      ["99.9 %", 0.999],
    ],
    ([name]) => name,
    ([name]) => make("div", {}, [make("dt", { text: name }), make("dd")]),
    (line, [, share]) => setText(line.lastElementChild, duration(quantile(steps, share))),
  );
}

function showServices(window, configured, failures) {
  const services = configured.map((service) => ({
    ...service,
    broken: failures.find((failure) => failure.what === `service ${service.name}`),
    figures: window ? serviceIn(window, service.name) : null,
  }));
  keep(byId("services"), services, (service) => service.name, makeService, updateService);
  byId("no-services").hidden = services.length > 0;
}

function makeService(service) {
  const number = (classes = "") => make("td", { class: `number ${classes}` });
  return make("tr", {}, [
    make("th", { scope: "row" }, [
      make("span", { class: "service" }, [
        make("span", { text: service.name }),
        make("span", { class: "pill" }),
      ]),
      make("small", { class: "muted" }),
      make("ul", { class: "plain endpoints" }),
      make("p", { class: "upstream muted" }),
    ]),
    number(),
    number(),
    number("wide"),
    number("wide"),
    number(),
  ]);
}

function updateService(element, service) {
  const [name, requests, server, client, p50, p99] = element.children;
  const { figures } = service;
  setText(name.querySelector("small"), service.basePath);
  keep(
    name.querySelector("ul"),
    service.targets,
    (target) => target.url,
    (target) =>
      make("li", {}, [make("span", { text: target.url }), make("span", { class: "muted" })]),
    (line, target) =>
      setText(line.lastElementChild, target.weight === 1 ? "" : `weight ${target.weight}`),
  );
  const health = healthOf(service);
  const pill = name.querySelector(".pill");
  pill.hidden = health.state === "";
  pill.dataset.state = health.state;
  setText(pill, health.state);
  setText(
    name.querySelector(".upstream"),
    [health.words, tunnelsOf(service), splitOf(service), mirroredOf(service)].filter(Boolean).join(" · "),
  );
  setText(requests, rate(figures?.rate));
  setErrors(server, figures?.classes[5]);
  setText(client, count(figures?.classes[4]));
  client.classList.toggle("muted", !figures?.classes[4]);
  setText(p50, duration(figures?.p50));
  setText(p99, duration(figures?.p99));
}

function setErrors(cell, errors) {
  setText(cell, count(errors));
  cell.classList.toggle("bad", errors > 0);
  cell.classList.toggle("muted", !errors);
}

/** How its origins do, as far as the gateway knows: by the requests that it sent them. */
function healthOf({ broken, figures }) {
  if (broken) return { state: "down", words: broken.reason };
  const { tries, failed, errors, retries, connections } = figures?.upstream ?? { tries: 0 };
  if (tries === 0) return { state: "", words: "" };
  const kinds = errors.map(([kind, added]) => `${count(added)} × ${kind.replaceAll("_", " ")}`);
  const words = [
    failed
      ? `${count(failed)} of ${plural(tries, "try", "tries")} failed`
      : `${plural(tries, "try", "tries")}, none failed`,
    ...kinds,
    ...(retries ? [plural(retries, "retry", "retries")] : []),
    `${plural(connections.open, "connection")}, ${count(connections.idle)} idle`,
  ];
  const state = failed === 0 ? "answers" : failed === tries ? "down" : "failing";
  return { state, words: words.join(" · ") };
}

/** Its WebSockets and the like: how many are open, and what has passed through all that there were. */
function tunnelsOf({ figures }) {
  const { open, ended, bytesFromClients, bytesFromTargets } = figures?.tunnels ?? {};
  if (!open && !ended) return "";
  const passed = `${bytes(bytesFromClients)} in, ${bytes(bytesFromTargets)} out`;
  return `${plural(open, "tunnel")} open (${passed})`;
}

/** The parts of a split, what each is to get and what it got. */
function splitOf({ figures }) {
  if (!figures?.split) return "";
  const weights = figures.split.reduce((sum, part) => sum + part.weight, 0);
  const all = figures.split.reduce((sum, part) => sum + part.added, 0);
  const parts = figures.split.map((part) => {
    const got = all > 0 ? `got ${percent(part.added / all)}` : "got none";
    return `${part.service} ${got} (weight ${percent(weights > 0 ? part.weight / weights : 0)})`;
  });
  return `split: ${parts.join(", ")}`;
}

/** What became of the copies of its requests. */
function mirroredOf({ figures }) {
  const results = figures?.mirrored ?? [];
  if (results.length === 0) return "";
  const words = results.map(([result, added]) => `${count(added)} ${result.replaceAll("_", " ")}`);
  return `copies: ${words.join(", ")}`;
}

function showWorkers(window) {
  const workers = (window?.now.status.workers ?? []).map((worker) => {
    const was = window.before?.status.workers.find((other) => other.worker === worker.worker);
    const requests = grown(was?.exchanges, worker.exchanges);
    return { ...worker, perSecond: requests / window.seconds };
  });
  const most = Math.max(...workers.map((worker) => worker.perSecond), 0);
  const mean =
    workers.reduce((sum, worker) => sum + worker.perSecond, 0) / Math.max(workers.length, 1);
  setText(
    byId("balance"),
    mean > 0 && workers.length > 1 ? `busiest ${(most / mean).toFixed(2)} × the mean` : "",
  );
  keep(
    byId("workers"),
    workers,
    (worker) => worker.worker,
    (worker) =>
      make("li", {}, [
        make("span", { text: `Worker ${worker.worker}` }),
        makeBar("bar-wide"),
        make("span", { class: "number" }),
        make("span", { class: "number muted" }),
      ]),
    (line, worker) => {
      setBar(line.children[1], most > 0 ? worker.perSecond / most : 0);
      setText(line.children[2], `${rate(worker.perSecond)}/s`);
      setText(line.children[3], plural(worker.connectionsOpen, "connection"));
    },
  );
}
