// The dialogs: load, upload, unload, the token.

/** Opens a dialog; `submit` gets its fields, and a text that it throws is shown in it. */
function openDialog(id, values, submit) {
  const dialog = byId(id);
  const form = dialog.querySelector("form");
  const problem = form.querySelector(".problem");
  form.reset();
  setText(problem, "");
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const missing = [...form.elements].find((field) => field.required && field.value === "");
    if (missing) {
      setText(problem, `${missing.labels[0].firstChild.textContent.trim()} is missing.`);
      missing.focus();
      return;
    }
    setText(problem, "");
    const main = form.querySelector(".main");
    main.disabled = true;
    try {
      await submit(form.elements);
      dialog.close();
    } catch (error) {
      setText(problem, error.message);
    } finally {
      main.disabled = false;
    }
  };
  for (const button of form.querySelectorAll("[data-close]")) button.onclick = () => dialog.close();
  dialog.showModal();
  return dialog;
}

/** Makes a change; says what came of it, and what the gateway warns of. */
async function change(words, method, path, body) {
  const { warnings } = await call(method, path, body);
  notice([`${words}.`, ...(warnings ?? [])].join("\n"));
  await refresh();
}

function pluginPath(name, rest = "") {
  return `/api/plugins/${encodeURIComponent(name)}${rest}`;
}

function openLoad() {
  openDialog("load-dialog", {}, async (fields) => {
    const keys = { name: fields.name.value.trim(), path: fields.path.value.trim() };
    if (fields.type.value) keys.type = fields.type.value;
    if (fields.priority.value) keys.priority = numberOf(fields.priority.value);
    if (fields.sha256.value) keys.sha256 = fields.sha256.value.trim();
    if (fields.config.value.trim()) keys.config = jsonOf(fields.config.value);
    if (fields.persist.checked) keys.persist = true;
    await change(`Plugin ${keys.name} loaded`, "POST", "/api/plugins/load", keys);
  });
}

function numberOf(text) {
  const number = Number(text);
  if (!Number.isInteger(number)) throw new Error(`Priority: got ${text}, expected a whole number.`);
  return number;
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Configuration: not JSON: ${error.message}`);
  }
}

function openUpload(name = "") {
  openDialog("upload-dialog", { name }, async (fields) => {
    const called = fields.name.value.trim();
    await change(
      `Plugin ${called} uploaded and loaded`,
      "PUT",
      pluginPath(called, "/module"),
      fields.module.files[0],
    );
  });
}

function openUnload(name) {
  setText(byId("unload-name"), name);
  openDialog("unload-dialog", {}, async (fields) => {
    const query = fields.persist.checked ? "?persist=true" : "";
    const path = `/api/plugins/unload/${encodeURIComponent(name)}${query}`;
    await change(`Plugin ${name} unloaded`, "DELETE", path);
  });
}

/** Asks until a token is given. */
function askToken(wasRefused) {
  return new Promise((done) => {
    const dialog = openDialog("token-dialog", {}, async (fields) => {
      const given = fields.token.value.trim();
      // What a header's value can hold.
      if (!/^[\x21-\x7e]+$/.test(given))
        throw new Error("A token has no blanks and no letters beyond ASCII.");
      done(given);
    });
    dialog.oncancel = (event) => event.preventDefault();
    if (wasRefused)
      setText(dialog.querySelector(".problem"), "That is not the token of this gateway.");
  });
}
