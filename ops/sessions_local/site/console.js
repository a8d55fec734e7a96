// The console: reads the view from the address, asks the API for its page, and shows what came of it.
// Whatever a person does leads to another address first, so that reload, back and sharing work everywhere.

import { fetchPage, organizations, target } from "./api.js";
import { SIZES, TYPED_KEY, addressOf, sameList, viewOf } from "./view.js";
import { copyButton, count, costRow, costText, details, element, noDetails, pager, problem, row } from "./render.js";

const PAGES_REMEMBERED = 8;
const PATIENCE = 200; // milliseconds before a page that loads looks like it

const WINDOW = 100; // sessions of a request that looks for one that has moved
const WINDOWS_AFTER = 10; // newer sessions push one to later pages
const WINDOWS_BEFORE = 2; // deletions pull it to earlier ones

const KEY = "sessions.key"; // where this tab keeps a key that somebody typed

const typedKey = () => sessionStorage.getItem(KEY) ?? "";
const byId = (id) => document.getElementById(id);

let view = null; // what the address asks for
let shown = null; // {view, page} that the list shows; null while it shows none
let keys = []; // [{organization_id, key}]
let sought = ""; // the session that was looked for on other pages
let visited = []; // what the last pages cost, newest first
let request = new AbortController();

// ---- addresses

function go(changes, { replace = false } = {}) {
  const address = addressOf({ ...view, session: "", ...changes });
  const byClick = !replace || Boolean(history.state?.byClick);
  history[replace ? "replaceState" : "pushState"]({ byClick }, "", address);
  return follow();
}

/** Shows the view of the address. */
async function follow() {
  const before = view;
  view = viewOf(location.search);
  if (!view.org) view.org = keys[0]?.organization_id ?? (typedKey() ? TYPED_KEY : "");
  if (addressOf(view) !== location.search) history.replaceState(history.state, "", addressOf(view));
  showFilters();
  if (before === null || !sameList(before, view) || shown === null) await load();
  showDetails();
}

// ---- filters

function keyOf(organization) {
  if (organization === TYPED_KEY) return typedKey();
  return keys.find((each) => each.organization_id === organization)?.key ?? `evr_local_${organization.replace("org_", "")}`;
}

function showOrganizations() {
  const names = keys.map((each) => each.organization_id);
  if (view.org && view.org !== TYPED_KEY && !names.includes(view.org)) names.push(view.org);
  byId("organization").replaceChildren(...names.map((name) => new Option(name, name)), new Option("Another API key…", TYPED_KEY));
  byId("organization").value = view.org || TYPED_KEY;
}

function showFilters() {
  showOrganizations();
  byId("key-field").hidden = view.org !== TYPED_KEY && view.org !== "";
  byId("key").value = typedKey();
  byId("agent").value = view.agent;
  const sizes = [...new Set([...SIZES, view.size])].sort((one, other) => one - other);
  byId("size").replaceChildren(...sizes.map((size) => new Option(size, size)));
  byId("size").value = view.size;
}

function changeFilters() {
  const org = byId("organization").value;
  const key = byId("key").value.trim();
  const size = Number(byId("size").value);
  const isOther = org !== view.org || (org === TYPED_KEY && key !== typedKey());
  if (org === TYPED_KEY) sessionStorage.setItem(KEY, key);
  const agent = org === view.org ? byId("agent").value.trim() : "";
  if (isOther) {
    visited = [];
    byId("agents").replaceChildren();
    shown = null;
  } else if (agent === view.agent && size === view.size) {
    return;
  }
  // Another page size keeps the first session of the page in sight.
  const page = isOther || agent !== view.agent ? 1 : Math.floor(((view.page - 1) * view.size) / size) + 1;
  go({ org, agent, size, page });
  if (org === TYPED_KEY && !key) byId("key").focus();
}

// ---- the list

async function load() {
  request.abort();
  const mine = (request = new AbortController());
  const asked = view;
  byId("result").setAttribute("aria-busy", "true");
  for (const link of byId("pager").querySelectorAll("a")) link.removeAttribute("href");
  const slow = setTimeout(() => {
    byId("result").classList.add("waiting");
    if (shown === null) byId("status").textContent = "Loading…";
  }, PATIENCE);
  let result;
  try {
    if (asked.org === "") result = { nothing: true };
    else if (asked.org === TYPED_KEY && !typedKey()) result = { noKey: true };
    else result = await fetchPage(asked, keyOf(asked.org), mine.signal);
  } catch {
    return; // another request took its place
  } finally {
    clearTimeout(slow);
  }
  if (mine !== request) return;
  byId("result").classList.remove("waiting");
  byId("result").setAttribute("aria-busy", "false");
  if (result.nothing) showNothing();
  else if (result.noKey) showNoKey();
  else if (result.problem) showProblem(result.problem);
  else showPage(asked, result.page, result.cost);
  byId("more").hidden = Boolean(result.nothing || result.noKey);
  showCurl(asked);
}

function showPage(asked, page, cost) {
  const pages = Math.max(1, Math.ceil(page.total / page.limit));
  const addressOfPage = (number) => addressOf({ ...asked, session: "", page: number });
  shown = { view: asked, page };
  byId("problem").hidden = true;
  byId("sessions").hidden = page.data.length === 0;
  // A broken session keeps its place and is left out: which place is not said.
  const end = Math.min(page.offset + page.limit, page.total);
  const missing = Math.max(0, end - page.offset - page.data.length);
  byId("rows").replaceChildren(...page.data.map((session, index) => row(session, missing ? null : page.offset + index + 1, {
    details: addressOf({ ...asked, session: session.id }),
    agent: addressOf({ ...asked, session: "", agent: session.agent_id, page: 1 }),
  })));
  byId("pager").hidden = page.total === 0;
  byId("pager").replaceChildren(...pager(asked.page, pages, addressOfPage, (number) => go({ page: number })));
  byId("status").textContent = page.data.length
    ? `Page ${count(asked.page)} of ${count(pages)}: ${count(page.offset + 1)} to ${count(end)} of ${count(page.total)} sessions${missing ? `, ${count(missing)} of them broken and left out` : ""}`
    : `${count(page.total)} sessions`;
  document.title = page.total ? `Page ${count(asked.page)} of ${count(pages)} – Sessions` : "Sessions";
  showCost(asked, page, cost);
  const known = new Set([...byId("agents").children].map((option) => option.value));
  for (const { agent_id: agent } of page.data) {
    if (!known.has(agent)) byId("agents").append(new Option(agent, agent));
    known.add(agent);
  }
  if (page.total > 0 && asked.page > pages) {
    showMessage({ title: `There is no page ${count(asked.page)}`, message: `The last one is page ${count(pages)}.` },
      [element("a", { className: "button", href: addressOfPage(pages) }, "Last page")], "calm");
  } else if (page.data.length === 0 && page.total === 0) {
    const all = asked.agent ? [element("a", { className: "button", href: addressOf({ ...asked, agent: "", page: 1 }) }, "All agents")] : [];
    showMessage({ title: "No sessions", message: asked.agent ? "This agent has none in this organization." : "" }, all, "calm");
  } else if (page.data.length === 0) {
    showMessage({ title: "Nothing to show on this page", message: "Its sessions are broken, and left out. The output of `make run` names them." }, [], "calm");
  }
}

function showCost(asked, page, cost) {
  byId("cost").hidden = cost === null;
  if (cost === null) return;
  byId("cost").textContent = costText(cost);
  visited = [{ page: asked.page, before: page.offset, cost }, ...visited].slice(0, PAGES_REMEMBERED);
  byId("costs").replaceChildren(...visited.map(costRow));
}

/** A failed request replaces the result. */
function showProblem(fault) {
  const again = element("button", { type: "button" }, "Try again");
  again.addEventListener("click", load);
  hideResult();
  byId("status").textContent = "";
  document.title = `${fault.title} – Sessions`;
  showMessage(fault, [again]);
}

function showNothing() {
  const again = element("button", { type: "button" }, "Look again");
  again.addEventListener("click", () => location.reload());
  hideResult();
  byId("status").textContent = "";
  showMessage({ title: "No sessions yet", message: "Whatever writes to the table `sessions` of the local DynamoDB appears here, with a key for each organization." }, [again], "calm");
}

function showNoKey() {
  hideResult();
  byId("status").textContent = "";
  showMessage({ title: "Which API key?", message: "Type a key above to list the sessions of its organization." }, [], "calm");
}

function hideResult() {
  shown = null;
  for (const id of ["sessions", "pager", "cost"]) byId(id).hidden = true;
  byId("rows").replaceChildren();
}

function showMessage(message, actions, kind = "") {
  byId("problem").className = `problem ${kind}`;
  byId("problem").replaceChildren(...problem(message, actions));
  byId("problem").hidden = false;
}

function showCurl(asked) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = keyOf(asked.org);
  const command = `curl -s${key ? ` -H ${quoted(`Authorization: ${key}`)}` : ""} ${quoted(target(asked))}`;
  byId("curl").textContent = command;
  byId("copy-curl").replaceChildren(copyButton(command, "the command"));
}

// ---- details

function showDetails() {
  const dialog = byId("details");
  for (const each of byId("rows").children) each.classList.toggle("open", each.dataset.session === view.session);
  if (!view.session || shown === null) return dialog.close();
  const session = shown.page.data.find((each) => each.id === view.session);
  const agent = session && addressOf({ ...view, session: "", agent: session.agent_id, page: 1 });
  const isSought = !session && sought !== view.session;
  dialog.replaceChildren(...(session ? details(session, agent) : noDetails(view.session, isSought)));
  if (isSought) seek(view);
  dialog.querySelector(".close").addEventListener("click", leaveDetails);
  if (!dialog.open) dialog.showModal();
}

/** Goes to the page that a session has moved to, or says that it is not found. */
async function seek(from) {
  const nearest = Math.floor(((from.page - 1) * from.size) / WINDOW) + 1;
  const after = Array.from({ length: WINDOWS_AFTER }, (_, index) => nearest + index);
  const before = Array.from({ length: WINDOWS_BEFORE }, (_, index) => nearest - index - 1).filter((page) => page > 0);
  let page = from.page;
  for (const window of [...after, ...before]) {
    if (from !== view) return;
    const { page: found } = await fetchPage({ ...from, page: window, size: WINDOW }, keyOf(from.org), new AbortController().signal);
    const index = found?.data.findIndex((each) => each.id === from.session) ?? -1;
    if (index >= 0) {
      page = Math.floor((found.offset + index) / from.size) + 1;
      break;
    }
    if (!found) break;
  }
  if (from !== view) return;
  sought = from.session;
  if (page === from.page) showDetails();
  else go({ page, session: from.session }, { replace: true });
}

/** Closes the details by leaving their address, which is a step back for whoever opened them here. */
function leaveDetails() {
  if (history.state?.byClick) history.back();
  else go({ session: "" }, { replace: true });
}

// ---- what a person does

function follows(event, link) {
  return link?.search && link.pathname === location.pathname && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}

document.addEventListener("click", (event) => {
  if (event.target.closest("button")) return;
  const link = event.target.closest("a[href]");
  if (link) {
    if (!follows(event, link)) return;
    event.preventDefault();
    const wanted = viewOf(link.search);
    go(wanted, { replace: Boolean(view.session) });
    if (link.closest("#pager")) keepFocus(link.rel);
    return;
  }
  const session = event.target.closest("#rows tr")?.dataset.session;
  if (session && getSelection().isCollapsed) go({ session });
  else if (event.target === byId("details")) leaveDetails(); // beside it
});

/** A pager link stays in focus although the pager is built again; at an end its opposite takes over. */
function keepFocus(rel) {
  const opposite = { first: "next", prev: "next", next: "prev", last: "prev" };
  new MutationObserver((_, observer) => {
    observer.disconnect();
    const find = (name) => byId("pager").querySelector(`a[rel="${name}"]`);
    (find(rel) ?? find(opposite[rel]) ?? byId("jump"))?.focus();
  }).observe(byId("pager"), { childList: true });
}

byId("refresh").addEventListener("click", async () => {
  keys = await organizations();
  await follow();
  await load();
});
byId("filters").addEventListener("change", changeFilters);
byId("filters").addEventListener("submit", (event) => { event.preventDefault(); changeFilters(); });
byId("agent").addEventListener("search", changeFilters); // Enter, or its own button that empties it
byId("details").addEventListener("cancel", (event) => { event.preventDefault(); leaveDetails(); }); // Escape
addEventListener("popstate", follow);
addEventListener("focus", async () => {
  keys = await organizations();
  showOrganizations();
});

keys = await organizations();
await follow();
