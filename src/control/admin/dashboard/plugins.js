// The table of plugins: sorted by p99 at first, so that the slowest is on top.

const STATES = { active: "active", disabled: "disabled", failed: "failed" };
const table = { key: "p99", down: true, open: new Set(), sortedAt: 0, order: [] };

const columns = {
  name: (row) => row.plugin.name,
  status: (row) => stateOf(row),
  rate: (row) => row.figures.rate,
  errors: (row) => row.figures.errors,
  p50: (row) => row.figures.p50 ?? -1,
  p99: (row) => row.figures.p99 ?? -1,
  share: (row) => row.figures.share ?? -1,
  memory: (row) => row.figures.memory ?? -1,
  instances: (row) => row.figures.instances ?? -1,
};

function stateOf(row) {
  return row.figures.total?.isBackedOff && row.plugin.status === "active"
    ? "backed off"
    : STATES[row.plugin.status];
}

/** Rows keep their places while somebody is about to press something in them. */
function arrange(rows, now) {
  const body = byId("plugin-rows");
  const isInUse = body.matches(":hover") || body.contains(document.activeElement);
  const names = new Set(rows.map((row) => row.plugin.name));
  const isSame = names.size === table.order.length && table.order.every((name) => names.has(name));
  if (now || !isSame || (!isInUse && Date.now() - table.sortedAt > 3000)) {
    const value = columns[table.key];
    const sign = table.down ? -1 : 1;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return sign * order || a.plugin.name.localeCompare(b.plugin.name);
    };
    table.order = [...rows].sort(compare).map((row) => row.plugin.name);
    table.sortedAt = Date.now();
  }
  return table.order.map((name) => rows.find((row) => row.plugin.name === name));
}

function showPlugins(rows, actions, sortNow = false) {
  const longest = Math.max(...rows.map((row) => row.figures.p99 ?? 0), 1);
  const lines = arrange(rows, sortNow).flatMap((row) => {
    const isOpen = table.open.has(row.plugin.name);
    return isOpen
      ? [
          { ...row, kind: "row" },
          { ...row, kind: "details" },
        ]
      : [{ ...row, kind: "row" }];
  });
  keep(
    byId("plugin-rows"),
    lines,
    (line) => `${line.kind} ${line.plugin.name}`,
    (line) =>
      line.kind === "row" ? makeRow(line.plugin, actions) : makeDetailsRow(line.plugin, actions),
    (element, line) => {
      if (line.kind === "row") updateRow(element, line, longest);
      else updateDetails(element.querySelector(".details"), line.plugin, line.figures);
      for (const button of element.querySelectorAll("[data-toggle]"))
        setToggle(button, line.plugin);
    },
  );
  byId("no-plugins").hidden = rows.length > 0;
  for (const head of document.querySelectorAll("#plugins th[data-key]")) {
    const order =
      head.dataset.key === table.key ? (table.down ? "descending" : "ascending") : "none";
    head.setAttribute("aria-sort", order);
  }
  showSlowest(rows);
}

function makeRow(plugin, actions) {
  const name = make(
    "button",
    {
      type: "button",
      class: "name",
      "aria-expanded": "false",
      on: { click: () => actions.open(plugin.name) },
    },
    [make("span", { text: plugin.name }), make("small", { class: "muted" })],
  );
  const cell = (classes, children = []) => make("td", { class: classes }, children);
  return make("tr", { class: "row" }, [
    make("th", { scope: "row" }, [name]),
    cell("wide", [make("span", { class: "pill" })]),
    cell("wide number"),
    cell("number"),
    cell("wide number"),
    cell("number", [make("span"), makeBar()]),
    cell("number", [make("span"), makeBar()]),
    cell("wide number"),
    cell("wide number"),
    cell("wide actions", [toggleButton(plugin, actions)]),
  ]);
}

/** A bar from 0 to 1: `setBar`. */
function makeBar(classes = "bar-line") {
  return make("span", { class: classes, "aria-hidden": "true" }, [make("i")]);
}

function setBar(bar, share) {
  bar.hidden = share === null;
  bar.firstElementChild.style.width = `${(100 * Math.min(Math.max(share ?? 0, 0), 1)).toFixed(1)}%`;
}

function updateRow(element, row, longest) {
  const { plugin, figures } = row;
  const [name, state, calls, errors, p50, p99, share, memory, instances] = element.children;
  const isOpen = table.open.has(plugin.name);
  name.firstElementChild.setAttribute("aria-expanded", String(isOpen));
  const words = stateOf(row);
  setText(
    name.querySelector("small"),
    words === "active" ? plugin.type : `${plugin.type}, ${words}`,
  );
  element.dataset.state = words;
  setText(state.firstElementChild, words);
  state.firstElementChild.dataset.state = words;
  setText(calls, plugin.status === "active" ? rate(figures.rate) : NONE);
  setErrors(errors, figures.errors);
  setText(p50, duration(figures.p50));
  setText(p99.firstElementChild, duration(figures.p99));
  setBar(p99.lastElementChild, figures.p99 === null ? null : figures.p99 / longest);
  setText(share.firstElementChild, percent(figures.share));
  setBar(share.lastElementChild, figures.share);
  setText(memory, bytes(figures.memory));
  setText(instances, figures.instances === null ? NONE : count(figures.instances));
}

function toggleButton(plugin, actions) {
  return make("button", {
    type: "button",
    "data-toggle": plugin.name,
    on: { click: () => actions.toggle(plugin.name) },
  });
}

function setToggle(button, plugin) {
  setText(button, plugin.enabled ? "Disable" : "Enable");
  button.setAttribute("aria-label", `${plugin.enabled ? "Disable" : "Enable"} ${plugin.name}`);
}

function makeDetailsRow(plugin, actions) {
  const button = (text, run, classes) =>
    make("button", {
      type: "button",
      text,
      class: classes,
      "aria-label": `${text.replace("…", "")} ${plugin.name}`,
      on: { click: run },
    });
  const details = makeDetails([
    toggleButton(plugin, actions),
    button("Upload a new module…", () => actions.upload(plugin.name)),
    button("Unload…", () => actions.unload(plugin.name), "danger"),
  ]);
  return make("tr", { class: "details-row" }, [make("td", { colspan: "10" }, [details])]);
}

function showSlowest(rows) {
  const slowest = rows
    .filter((row) => row.figures.p99 !== null)
    .sort((a, b) => b.figures.p99 - a.figures.p99)[0];
  const button = byId("slowest");
  button.disabled = !slowest;
  button.dataset.name = slowest?.plugin.name ?? "";
  setText(button, slowest?.plugin.name ?? NONE);
  setText(
    byId("slowest-note"),
    slowest
      ? `p99 ${duration(slowest.figures.p99)}, ${percent(slowest.figures.share)} of the time`
      : "no calls",
  );
}
