// Calls of the admin API and its stream of events.

const TOKEN_KEY = "odin.admin.token";
/** Events come every second. */
const STALL_MS = 6000;
const RETRY_MS = [500, 1000, 2000, 5000];

let token = sessionStorage.getItem(TOKEN_KEY);

function setToken(value) {
  token = value;
  if (value === null) sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, value);
  byId("forget").hidden = value === null;
}

/** The API said no, in its own words. */
class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

function request(method, path, options = {}) {
  const headers = { ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  return fetch(path, { ...options, method, headers, cache: "no-store", credentials: "omit" });
}

async function refusal(response) {
  const reason = await response.json().then(
    (body) => body.error,
    () => null,
  );
  return new Refused(response.status, reason ?? `the gateway answered ${response.status}`);
}

/** Calls the API: `body` is a file, or anything that is JSON. */
async function call(method, path, body) {
  const options = {};
  if (body instanceof Blob) {
    options.body = body;
    options.headers = { "Content-Type": "application/wasm" };
  } else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await request(method, path, options);
  } catch {
    throw new Refused(0, "the gateway cannot be reached");
  }
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Gives every event to `show`, for ever; `say` is told how the connection is. */
async function watch(show, say, askToken) {
  let failures = 0;
  for (;;) {
    try {
      await watchOnce((event) => {
        failures = 0;
        show(event);
      });
      say("lost", "the gateway ended the stream");
    } catch (error) {
      if (error.status === 401) {
        say("token", "waiting for the token");
        setToken(await askToken(token !== null));
        continue;
      }
      say("lost", error instanceof Refused ? error.message : "the gateway cannot be reached");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(failures, 3)]));
    failures += 1;
  }
}

async function watchOnce(show) {
  const control = new AbortController();
  let stall = setTimeout(() => control.abort(), STALL_MS);
  try {
    const response = await request("GET", "/api/events", { signal: control.signal });
    if (!response.ok) throw await refusal(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(stall);
      stall = setTimeout(() => control.abort(), STALL_MS);
      const events = (text + value).split("\n\n");
      text = events.pop();
      // Where several came at once, the last says it all: everything is counted from the start.
      const last = events.at(-1);
      if (last?.startsWith("data: ")) show(JSON.parse(last.slice("data: ".length)));
    }
  } finally {
    clearTimeout(stall);
    control.abort();
  }
}
