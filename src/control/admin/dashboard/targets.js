// Where requests go: which targets are well, which are not, why and since when.

const TARGET_STATES = ["unhealthy", "ejected", "drained", "warming", "healthy"];

/** Why a target is not sent requests, in words. */
function whySick(target) {
  const words = {
    connect_failed: "it takes no connections",
    connect_timeout: "its connections are not made in time",
    consecutive_errors: "it failed several requests in a row",
    error_rate: "it failed too many of its requests",
    check_failed: "its health checks fail",
    drained: "an operator has drained it",
  };
  if (target.state === "healthy" || target.state === "warming") return "";
  const why = words[target.reason] ?? target.reason.replaceAll("_", " ");
  return target.check ? `${why}: ${target.check}` : why;
}

function sinceWords(target) {
  if (target.sinceMs === null) return "";
  const again =
    target.triedInMs === null
      ? ""
      : `, tried again in ${target.triedInMs < 1000 ? "a second" : span(target.triedInMs)}`;
  return `since ${clock(target.sinceMs)}${again}`;
}

function isSick(target) {
  return target.state === "unhealthy" || target.state === "ejected";
}

/** What of the targets belongs under "Needs attention". */
function sickTargets(status) {
  const panics = (status?.panicking ?? []).map((service) => ({
    id: `panic ${service}`,
    title: `service ${service}`,
    text: "all of its targets are sick",
    effect: "requests go to all of them",
  }));
  const sick = (status?.targets ?? []).filter(isSick).map((target) => ({
    id: `target ${target.service} ${target.url}`,
    title: `target ${target.url} of ${target.service}`,
    text: `${target.state}: ${whySick(target)}`,
    effect: sinceWords(target),
  }));
  return [...panics, ...sick];
}

function showTargets(targets, act) {
  const order = (target) => TARGET_STATES.indexOf(target.state);
  const sorted = targets
    .map((target, place) => ({ ...target, place }))
    .sort((a, b) => order(a) - order(b) || a.place - b.place);
  keep(
    byId("target-rows"),
    sorted,
    (target) => `${target.service} ${target.url}`,
    (target) => makeTarget(target, act),
    updateTarget,
  );
  byId("targets-panel").hidden = sorted.length === 0;
  const well = sorted.filter((target) => ["healthy", "warming"].includes(target.state)).length;
  const all = well === sorted.length;
  setText(byId("targets-summary"), all ? "all are well" : `${well} of ${sorted.length} are well`);
  byId("targets-summary").classList.toggle("bad", !all);
}

function makeTarget(target, act) {
  const number = (classes = "") => make("td", { class: `number ${classes}` });
  const button = make("button", { type: "button", class: "quiet" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    await act(target.url, button.dataset.drained !== "true");
    button.disabled = false;
  });
  return make("tr", {}, [
    make("th", { scope: "row" }, [
      make("span", { text: target.url }),
      make("small", { class: "muted", text: target.service }),
    ]),
    make("td", {}, [make("span", { class: "pill" }), make("p", { class: "muted why" })]),
    number("not-on-phone"),
    number("wide"),
    number("wide"),
    make("td", {}, [button]),
  ]);
}

function updateTarget(row, target) {
  const [, state, active, latency, ejections, action] = row.children;
  const [pill, why] = state.children;
  setText(pill, target.state);
  pill.dataset.state = isSick(target) ? "down" : target.state === "healthy" ? "answers" : "degraded";
  const words = [whySick(target), target.state === "healthy" ? "" : sinceWords(target)];
  setText(why, words.filter((one) => one !== "").join(", "));
  const waiting = target.waiting > 0 ? ` (+${count(target.waiting)} waiting)` : "";
  setText(active, `${count(target.active)}${waiting}`);
  setText(latency, target.latencyMicros > 0 ? duration(target.latencyMicros) : NONE);
  setText(ejections, count(target.ejections));
  const isDrained = target.state === "drained";
  const button = action.firstElementChild;
  button.dataset.drained = String(isDrained);
  setText(button, isDrained ? "Restore" : "Drain");
  button.setAttribute("aria-label", `${isDrained ? "Restore" : "Drain"} ${target.url}`);
}
