// What is wrong now, what went wrong lately, what was changed.

const RECENT_MAX = 50;
const recent = [];

/** Notes what has gone wrong within the last second. */
function noteErrors(window) {
  if (!window?.before) return;
  const atMs = window.now.atMs;
  for (const plugin of window.now.status.plugins) {
    const { errorsByKind } = pluginIn(window, plugin.name, 0);
    for (const [kind, added] of errorsByKind)
      note(atMs, `plugin ${plugin.name}: ${KINDS[kind] ?? kind}`, added);
  }
  for (const service of window.now.status.services) {
    const { classes, upstream } = serviceIn(window, service.name);
    if (classes[5] > 0) note(atMs, `service ${service.name}: answered 5xx`, classes[5]);
    for (const [kind, added] of upstream?.errors ?? []) {
      note(atMs, `service ${service.name}: upstream: ${kind.replaceAll("_", " ")}`, added);
    }
  }
  const rejected = grownByName(window.before.status.rejected, window.now.status.rejected);
  for (const [reason, added] of rejected) note(atMs, `request refused: ${whyRefused(reason)}`, added);
  const shed = grown(sumOf(window.before, "connectionsShed"), sumOf(window.now, "connectionsShed"));
  if (shed > 0) note(atMs, "connections closed: there are as many as there may be", shed);
}

/** Why the gateway refused requests itself, in words. */
function whyRefused(reason) {
  const words = {
    no_route: "no service for its path (404)",
    bad_request: "malformed or ambiguous (400)",
    bad_request_body: "its body is malformed (400)",
    head_timeout: "its head came too slowly (408)",
    body_timeout: "its body came too slowly (408)",
    body_too_large: "its body is too large (413)",
    uri_too_long: "its target is too long (414)",
    head_too_large: "its head is too large (431)",
    no_endpoint: "its service has no target (503)",
    over_budget: "too many bodies in memory (503)",
    upgrade_refused: "it asks for another protocol (501)",
    unsupported_websocket: "its WebSocket is of another version (400)",
    upstream_busy: "its targets are busy (503)",
  };
  return words[reason] ?? reason.replaceAll("_", " ");
}

/** One line for what goes on, not one for each second of it. */
function note(atMs, text, added) {
  const same = recent.find((entry) => entry.text === text && atMs - entry.atMs < 60_000);
  if (same) {
    same.added += added;
    same.atMs = atMs;
    recent.splice(recent.indexOf(same), 1);
    recent.unshift(same);
    return;
  }
  recent.unshift({ id: `${atMs} ${text}`, atMs, text, added });
  recent.length = Math.min(recent.length, RECENT_MAX);
}

function showRecent(reloads) {
  const refused = reloads
    .filter((reload) => !reload.published)
    .map((reload) => ({
      id: `refused ${reload.atMs} ${reload.change}`,
      atMs: reload.atMs,
      text: `${reload.change}: refused`,
      reason: reload.error,
    }));
  const entries = [...recent, ...refused].sort((a, b) => b.atMs - a.atMs).slice(0, RECENT_MAX);
  keep(
    byId("recent"),
    entries,
    (entry) => entry.id,
    makeEntry,
    (line, entry) => {
      setText(line.querySelector("time"), clock(entry.atMs));
      setText(line.querySelector(".times"), entry.added > 1 ? `${count(entry.added)} ×` : "");
    },
  );
  byId("no-recent").hidden = entries.length > 0;
}

function makeEntry(entry) {
  const reason = entry.reason ? [make("p", { class: "reason", text: entry.reason })] : [];
  return make("li", {}, [
    make("time"),
    make("div", {}, [
      make("span", { text: entry.text }),
      make("span", { class: "muted times" }),
      ...reason,
    ]),
  ]);
}

function showReloads(reloads, status) {
  keep(
    byId("reloads"),
    reloads,
    (reload) => `${reload.atMs} ${reload.change}`,
    (reload) => {
      const outcome = reload.published ? `generation ${reload.generation}` : "refused";
      return make("li", {}, [
        make("time", { text: clock(reload.atMs) }),
        make("div", {}, [
          make("span", { text: reload.change }),
          make("span", { class: reload.published ? "muted" : "bad", text: outcome }),
          make("span", { class: "muted", text: `${count(reload.tookMs)} ms` }),
          ...(reload.error ? [make("p", { class: "reason", text: reload.error })] : []),
        ]),
      ]);
    },
  );
  byId("no-reloads").hidden = reloads.length > 0;
  const { published, refused } = status?.reloads ?? {};
  const alive = status?.generationsAlive > 1 ? `, ${status.generationsAlive} alive` : "";
  setText(
    byId("generation"),
    status
      ? `generation ${status.generation}${alive}; ${count(published)} published, ${count(refused)} refused`
      : "",
  );
}

/** What does not work now, with what that means for requests. */
function showAttention(status) {
  const failures = (status?.failures ?? []).map((failure) => ({
    id: failure.what,
    title: failure.what,
    text: failure.reason,
    effect: failure.effect,
  }));
  const backedOff = (status?.plugins ?? [])
    .filter((plugin) => plugin.isBackedOff)
    .map((plugin) => ({
      id: `backed off ${plugin.name}`,
      title: `plugin ${plugin.name}`,
      text: "it kept failing, so it is not called for a while",
      effect: "see its errors below",
    }));
  const entries = [...fleetTrouble(status), ...sickTargets(status), ...failures, ...backedOff];
  keep(
    byId("attention-list"),
    entries,
    (entry) => entry.id,
    () => make("li", {}, [make("b"), make("span"), make("span", { class: "muted" })]),
    (line, entry) => {
      const [title, text, effect] = line.children;
      setText(title, entry.title);
      setText(text, entry.text);
      setText(effect, entry.effect);
    },
  );
  byId("attention").hidden = entries.length === 0;
}
