// Requests to the API. A response is always an object: {page, cost} or {problem}.

const ROOT = new URL("..", import.meta.url); // of this server, which may be below a path prefix

/** The organizations that have sessions, each with its demo key. */
export async function organizations() {
  try {
    const response = await fetch(new URL("site/organizations.json", ROOT), { cache: "no-store" });
    return response.ok ? await response.json() : [];
  } catch {
    return [];
  }
}

/** The URL of a view's request. */
export function target(view) {
  const query = new URLSearchParams({ offset: (view.page - 1) * view.size, limit: view.size });
  if (view.agent) query.set("agent_id", view.agent);
  return new URL(`v1/sessions?${query}`, ROOT).href;
}

/** The page of a view; `signal` ends the request when another one takes its place. */
export async function fetchPage(view, key, signal) {
  let response, body;
  try {
    const headers = key ? { Authorization: key } : {};
    response = await fetch(target(view), { headers, cache: "no-store", signal });
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    const message = error instanceof SyntaxError ? "The response is not JSON." : "Is `make run` still running?";
    return { problem: { title: "No response", message } };
  }
  if (!response.ok) {
    return {
      problem: {
        title: `${response.status} ${body.error?.code ?? response.statusText}`,
        message: body.error?.message ?? "",
        requestId: response.headers.get("X-Request-Id"),
        retryAfter: response.headers.get("Retry-After"),
      },
    };
  }
  return { page: body, cost: costOf(response.headers.get("Server-Timing") ?? "") };
}

/** What a request cost, from `function;dur=12.5, round_trips;desc="2", read_units;desc="3.5"`; null when unknown. */
function costOf(timing) {
  const measured = {};
  for (const [, name, value] of timing.matchAll(/(\w+);(?:dur|desc)="?([0-9.]+)/g)) measured[name] = Number(value);
  if (measured.round_trips === undefined) return null;
  return { roundTrips: measured.round_trips, readUnits: measured.read_units, milliseconds: measured.function };
}
