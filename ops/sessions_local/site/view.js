// The address: which view a query string names, and back. A view is what is asked for, not what came of it.

export const SIZES = [10, 20, 50, 100];

/** The value of `org` for a key that somebody typed: it is kept in this tab, and never in the address. */
export const TYPED_KEY = "key";

const DEFAULTS = { org: "", agent: "", page: 1, size: 20, session: "" };

/** The view of an address; what is missing or is not a number has its default. */
export function viewOf(query) {
  const given = new URLSearchParams(query);
  const number = (name, most) => {
    const text = given.get(name) ?? "";
    return /^[1-9][0-9]{0,8}$/.test(text) && Number(text) <= most ? Number(text) : DEFAULTS[name];
  };
  return {
    org: given.get("org") ?? DEFAULTS.org,
    agent: (given.get("agent") ?? DEFAULTS.agent).trim(),
    page: number("page", 999_999_999),
    size: number("size", 100),
    session: given.get("session") ?? DEFAULTS.session,
  };
}

/** The address of a view: `org`, `page` and `size` always, the rest when there is something to say. */
export function addressOf(view) {
  const query = new URLSearchParams({ org: view.org });
  if (view.agent) query.set("agent", view.agent);
  query.set("page", view.page);
  query.set("size", view.size);
  if (view.session) query.set("session", view.session);
  return `?${query}`;
}

/** Whether two views list the same sessions, whichever of them is open. */
export function sameList(one, other) {
  return addressOf({ ...one, session: "" }) === addressOf({ ...other, session: "" });
}
