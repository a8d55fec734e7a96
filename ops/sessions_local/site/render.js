// What the console shows, made of elements; texts of sessions are only ever set as text.

/** An element with properties, and children that are elements or texts. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export const count = (number) => number.toLocaleString("en");

const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function costText(cost) {
  const time = cost.milliseconds === undefined ? "" : ` · ${cost.milliseconds.toFixed(0)} ms`;
  return `${plural(cost.roundTrips, "round trip")} · ${plural(cost.readUnits, "read unit")}${time}`;
}

/** First, previous, jump, next, last. `addressOfPage` gives the address of a page, `jump` goes to one. */
export function pager(current, pages, addressOfPage, jump) {
  const link = (text, page, isThere, rel) =>
    isThere
      ? element("a", { className: "button", href: addressOfPage(page), rel }, text)
      : element("a", { className: "button", role: "link", "aria-disabled": "true" }, text);
  const input = element("input", { id: "jump", type: "number", min: 1, max: pages, value: current, required: true });
  const form = element("form", { noValidate: true }, element("label", {}, "page", input), `of ${count(pages)}`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = input.value === "" ? current : Math.trunc(input.valueAsNumber);
    const page = Math.min(Math.max(1, wanted), pages);
    input.value = page;
    if (page !== current) jump(page);
  });
  input.addEventListener("blur", () => { input.value = current; });
  return [
    link("First", 1, current > 1, "first"),
    link("Previous", current - 1, current > 1, "prev"),
    form,
    link("Next", current + 1, current < pages, "next"),
    link("Last", pages, current < pages, "last"),
  ];
}

/** A button that puts a text on the clipboard; `what` names the text for a screen reader. */
export function copyButton(text, what) {
  const made = element("button", { type: "button", className: "copy", title: `Copy ${what}`, "aria-label": `Copy ${what}` }, "Copy");
  made.addEventListener("click", async () => {
    made.textContent = (await copy(text)) ? "Copied" : "Not copied";
    setTimeout(() => { made.textContent = "Copy"; }, 1500);
  });
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // not allowed, or a page that came over plain HTTP from another machine
    const field = element("textarea", { value: text, className: "unseen" });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}

/** A row of the list; `position` is null where it is not known; `links` has the addresses of its details and of its agent's sessions. */
export function row(session, position, links) {
  const cell = (className, ...children) => element("td", { className, role: "cell" }, ...children);
  const title = session.title ?? session.preview ?? "Untitled";
  const made = element("tr", { role: "row" },
    cell("position", position === null ? "–" : count(position)),
    cell("", time(session.created_at)),
    cell("", element("span", { className: `state ${session.status}` }, session.status)),
    cell("",
      element("a", { className: session.title ? "title" : "title untitled", href: links.details, dir: "auto" }, title),
      session.title && session.preview ? element("div", { className: "preview", dir: "auto" }, session.preview) : "",
      element("div", { className: "id" }, element("span", { title: session.id }, short(session.id)), copyButton(session.id, `the id ${session.id}`))),
    cell("", element("a", { className: "agent", href: links.agent, title: `Only ${session.agent_id}` }, short(session.agent_id))),
    cell("", ...(session.tags.length ? [element("div", { className: "tags" }, ...session.tags.map(tag))] : [])),
    cell("number", session.usage ? count(session.usage.input_tokens + session.usage.output_tokens) : ""),
  );
  made.dataset.session = session.id;
  return made;
}

/** The contents of the details of a session. */
export function details(session, agentAddress) {
  const agent = element("a", { href: agentAddress, title: "Only this agent's sessions" }, session.agent_id);
  const id = (text, what) => element("span", { className: "id" }, text, copyButton(text, what));
  const fields = [
    ["Status", element("span", { className: `state ${session.status}` }, session.status)],
    ["Session", id(session.id, "the session's id")],
    ["Organization", id(session.organization_id, "the organization's id")],
    ["Agent", element("span", { className: "id" }, agent, copyButton(session.agent_id, "the agent's id"))],
    ["Model", session.model_id && id(session.model_id, "the model's id")],
    ["Created (UTC)", time(session.created_at)],
    ["Started (UTC)", session.started_at && time(session.started_at)],
    ["Updated (UTC)", time(session.updated_at)],
    ["Finished (UTC)", session.finished_at && time(session.finished_at)],
    ["First message", session.preview],
    ["Last response", session.output_preview],
    ["Tags", session.tags.length ? element("span", { className: "tags" }, ...session.tags.map(tag)) : null],
    ["Tokens", session.usage && Object.entries(session.usage).map(([name, value]) => `${name.replace("_tokens", "").replace("_", " ")} ${count(value)}`).join(", ")],
    ["Capabilities", session.capabilities.length ? session.capabilities.map((each) => each.ref).join(", ") : null],
  ].filter(([, value]) => value);
  const json = JSON.stringify(session, null, 2);
  return [
    header(session.title ?? "Untitled"),
    element("div", { className: "body" },
      element("dl", {}, ...fields.flatMap(([name, value]) => [element("dt", {}, name), element("dd", { dir: "auto" }, value)])),
      element("details", {}, element("summary", {}, "As JSON"), element("div", { className: "copied" }, element("pre", {}, json), copyButton(json, "the JSON")))),
  ];
}

/** The contents of the details of a session that is looked for on other pages, or was not found there. */
export function noDetails(id, isSought) {
  const text = isSought ? `Looking for ${id} on the pages around this one…` : `${id} is neither on this page nor on those around it. It may have been deleted.`;
  return [header(isSought ? "Moved" : "Not found"), element("div", { className: "body" }, element("p", { role: "status" }, text))];
}

/** A message in place of the list; actions are links or buttons. */
export function problem({ title, message, requestId }, actions) {
  return [
    element("h2", {}, title),
    ...(message ? [element("p", {}, message)] : []),
    ...(requestId ? [element("p", { className: "faint" }, "Request ", element("code", {}, requestId))] : []),
    ...(actions.length ? [element("div", { className: "actions" }, ...actions)] : []),
  ];
}

export function costRow({ page, before, cost }) {
  const number = (text) => element("td", { className: "number" }, text);
  const milliseconds = cost.milliseconds === undefined ? "" : `${cost.milliseconds.toFixed(0)} ms`;
  return element("tr", {}, element("td", {}, count(page)), number(count(before)), number(count(cost.roundTrips)), number(count(cost.readUnits)), number(milliseconds));
}

function header(title) {
  const close = element("button", { type: "button", className: "close" }, "Close");
  return element("header", {}, element("h2", { id: "details-title", dir: "auto" }, title), close);
}

function tag(text) {
  return element("span", { className: "tag", dir: "auto" }, text);
}

function time(text) {
  return element("time", { dateTime: text, title: text }, text.slice(0, 19).replace("T", " "));
}

/** An id with its middle left out; the whole one is in the details. */
function short(id) {
  const [kind, digits = ""] = id.split("_");
  return digits.length > 12 ? `${kind}_${digits.slice(0, 4)}…${digits.slice(-4)}` : id;
}
