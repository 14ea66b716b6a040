// Elements. Whatever comes from the gateway is set as text or as an attribute, never as markup.

function byId(id) {
  return document.getElementById(id);
}

/** An element: `text`, `class`, `on: {event: handler}`, any other key as an attribute. */
function make(tag, keys = {}, children = []) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(keys)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "on")
      for (const [on, run] of Object.entries(value)) element.addEventListener(on, run);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Sets text where it has changed: a screen reader and a selection are not disturbed. */
function setText(element, text) {
  const now = String(text);
  if (element.textContent !== now) element.textContent = now;
}

/** Keeps one child of `parent` for each of `items`, made once and in their order. */
function keep(parent, items, keyOf, makeOne, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = makeOne(item);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update?.(child, item);
  }
  for (const child of known.values()) child.remove();
}

/** Says what came of something. A failure stays until it is dismissed. */
function notice(text, failed = false) {
  const close = make("button", { type: "button", class: "quiet", text: "Dismiss" });
  const line = make("div", { class: failed ? "notice failed" : "notice" }, [
    make("p", { text }),
    close,
  ]);
  close.addEventListener("click", () => line.remove());
  const notices = byId("notices");
  notices.append(line);
  while (notices.children.length > 4) notices.firstElementChild.remove();
  if (!failed) setTimeout(() => line.remove(), 8000);
}
