// Puts it together: what is sent in is shown, what is pressed is done.

/** What changes with the configuration only: asked for when it has changed. */
const configured = { plugins: [], services: [], reloads: [], version: null };

async function refresh() {
  const [plugins, config, reloads] = await Promise.all([
    call("GET", "/api/plugins"),
    call("GET", "/api/config"),
    call("GET", "/api/reloads"),
  ]);
  configured.plugins = plugins.plugins;
  configured.services = config.config.services;
  configured.reloads = reloads;
  keep(
    byId("plugin-names"),
    configured.plugins,
    (plugin) => plugin.name,
    (plugin) => make("option", { value: plugin.name }),
  );
  show();
}

async function refreshIfChanged(status) {
  const version = [status.generation, status.reloads.published, status.reloads.refused].join();
  if (version === configured.version) return;
  configured.version = version;
  try {
    await refresh();
  } catch {
    configured.version = null;
  }
}

function show(sortNow = false) {
  const window = currentWindow(chosenWindow());
  const all = window && summary(window);
  const status = kept.samples.at(-1)?.status;
  showTiles(window, all);
  showCharts(all);
  const none = {
    calls: 0,
    rate: null,
    errors: 0,
    errorsByKind: [],
    p50: null,
    p99: null,
    share: null,
    memory: null,
    instances: null,
    active: null,
    total: null,
  };
  const rows = configured.plugins.map((plugin) => ({
    plugin,
    figures: window ? pluginIn(window, plugin.name, all.micros) : none,
  }));
  showPlugins(rows, actions, sortNow);
  showServices(window, configured.services, status?.failures ?? []);
  showTargets(status?.targets ?? [], actions.drain);
  showFleet(status);
  showWorkers(window);
  showRecent(configured.reloads);
  showReloads(configured.reloads, status);
  showAttention(status);
}

function showState(name, words) {
  const pill = byId("state");
  setText(pill, words);
  pill.dataset.state = name;
  document.title = name === "ready" ? "Odin" : `Odin: ${words}`;
}

function showConnected(status) {
  if (status.draining) showState("draining", "draining");
  else if (status.failures.some((failure) => failure.refuses)) showState("lost", "not ready");
  else if (status.failures.length > 0 || (status.panicking ?? []).length > 0)
    showState("degraded", "degraded");
  else showState("ready", "ready");
  setText(
    byId("facts"),
    `${status.version} · ${plural(status.workers.length, "worker")} on ${status.ioDriver} ` +
      `· up ${span(status.uptimeMs)}`,
  );
}

const actions = {
  open(name) {
    if (!table.open.delete(name)) table.open.add(name);
    show();
  },
  async toggle(name) {
    const plugin = configured.plugins.find((one) => one.name === name);
    if (!plugin) return;
    const enabled = !plugin.enabled;
    await attempt(() =>
      change(
        `Plugin ${name} ${enabled ? "enabled" : "disabled"}`,
        "PUT",
        pluginPath(name, "/enabled"),
        { enabled },
      ),
    );
  },
  async drain(url, drained) {
    await attempt(() =>
      change(`Target ${url} ${drained ? "drained" : "restored"}`, "PUT", "/api/targets/drained", {
        url,
        drained,
      }),
    );
  },
  upload: openUpload,
  unload: openUnload,
};

/** Does something that has no dialog to show what goes wrong. */
async function attempt(run) {
  try {
    await run();
  } catch (error) {
    notice(error.message, true);
    refresh().catch(() => {});
  }
}

byId("reload").addEventListener("click", async ({ currentTarget: button }) => {
  button.disabled = true;
  await attempt(() => change("Configuration reloaded", "POST", "/api/config/reload"));
  button.disabled = false;
});
byId("open-load").addEventListener("click", openLoad);
byId("open-upload").addEventListener("click", () => openUpload());
byId("slowest").addEventListener("click", ({ currentTarget: { dataset } }) => {
  table.open.add(dataset.name);
  show(true);
  const row = [...byId("plugin-rows").children].find(
    (line) => line.dataset.key === `row ${dataset.name}`,
  );
  row?.querySelector(".name").focus();
});
byId("forget").addEventListener("click", () => {
  setToken(null);
  location.reload();
});
byId("window").addEventListener("change", () => show(true));
for (const head of document.querySelectorAll("#plugins th[data-key]")) {
  head.firstElementChild.addEventListener("click", () => {
    const { key } = head.dataset;
    table.down = table.key === key ? !table.down : key !== "name" && key !== "status";
    table.key = key;
    show(true);
  });
}
byId("map").addEventListener("pointermove", ({ offsetX }) => {
  const second = secondAt(offsetX, kept.chart);
  setText(
    byId("map-hint"),
    second
      ? `${clock(second.atMs)}: ${rate(second.rate)} requests/s, p50 ${duration(second.p50)}, p99 ${duration(second.p99)}`
      : mapHint,
  );
});
const mapHint = byId("map-hint").textContent;
byId("map").addEventListener("pointerleave", () => setText(byId("map-hint"), mapHint));
window.addEventListener("resize", () => show());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());

setToken(token);
show();
watch(
  (sample) => {
    remember(sample);
    noteErrors(lastWindow());
    showConnected(sample.status);
    show();
    refreshIfChanged(sample.status);
    refreshFleet(sample.status);
  },
  (state, words) => showState(state, words),
  askToken,
);
