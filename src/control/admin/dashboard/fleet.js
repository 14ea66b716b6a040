// The fleet: which node runs which revision, which one refused it and why.

/** What all nodes said last; asked for while the page is looked at. */
const fleetKept = { document: null, askedMs: 0 };
const FLEET_ASK_MS = 3000;

async function refreshFleet(status) {
  if (!status?.fleet || document.hidden) return;
  const now = Date.now();
  if (now - fleetKept.askedMs < FLEET_ASK_MS) return;
  fleetKept.askedMs = now;
  try {
    fleetKept.document = await call("GET", "/api/fleet");
  } catch {
    fleetKept.document = null;
  }
}

/** What of the fleet belongs under "Needs attention". */
function fleetTrouble(status) {
  const fleet = status?.fleet;
  if (!fleet) return [];
  const trouble = [];
  if (!fleet.etcd.connected) {
    const title = "fleet: etcd is not reached";
    const effect = `revision ${fleet.revision} goes on, the last good one`;
    trouble.push({ id: "fleet etcd", title, text: fleet.etcd.reason, effect });
  }
  if (fleet.refused) {
    const title = `fleet: revision ${fleet.refused.revision} is refused here`;
    const effect = `revision ${fleet.revision} goes on`;
    trouble.push({ id: "fleet refused", title, text: fleet.refused.reason, effect });
  }
  if (fleet.unreported) {
    const title = "fleet: what this node runs is not reported";
    trouble.push({ id: "fleet report", title, text: fleet.unreported, effect: "it serves on" });
  }
  return trouble;
}

function showFleet(status) {
  byId("fleet-panel").hidden = !status?.fleet;
  if (!status?.fleet) return;
  const { document: all } = fleetKept;
  const nodes = all?.nodes ?? [];
  const current = all?.current ?? status.fleet.wanted ?? status.fleet.revision;
  const behind = (node) => node.applied !== current || node.refused !== null;
  const sorted = [...nodes].sort((a, b) => Number(behind(b)) - Number(behind(a)));
  keep(byId("fleet-rows"), sorted, (node) => node.node, makeNode, (row, node) => {
    const [, revision, state] = row.children;
    setText(revision, node.applied);
    const [pill, why] = state.children;
    const isRefused = node.refused !== null;
    setText(pill, isRefused ? `refused ${node.refused}` : node.health);
    pill.dataset.state =
      isRefused || node.health === "not ready" ? "down" : behind(node) ? "degraded" : "answers";
    setText(why, [node.reason, ...node.problems].filter((one) => one).join("; "));
  });
  const serving = nodes.filter((node) => node.applied === current).length;
  const canary = all?.canary;
  const first = canary ? `; ${canary.nodes.join(", ")} go first with ${canary.revision}` : "";
  const words = all
    ? `${serving} of ${plural(nodes.length, "node")} run revision ${current}${first}`
    : status.fleet.words;
  setText(byId("fleet-summary"), words);
  byId("fleet-summary").classList.toggle("bad", serving < nodes.length || !status.fleet.etcd.connected);
  setText(byId("fleet-node"), `this is ${status.fleet.node}`);
}

function makeNode(node) {
  return make("tr", {}, [
    make("th", { scope: "row" }, [
      make("span", { text: node.node }),
      make("small", { class: "muted", text: node.version }),
    ]),
    make("td", { class: "number" }),
    make("td", {}, [make("span", { class: "pill" }), make("p", { class: "muted why" })]),
  ]);
}
