// The API, as functions. Each returns the answer's `data`, or throws a Problem.

import { BASE } from "./endpoints.js";
import { t } from "./i18n.js";
import { noteTime } from "./serverTime.js";

let csrfToken = null;

/** What went wrong: the API's own sentence, the field it is about if it is about one, and the same in
 * one word (`code`) with what it is about (`params`). */
export class Problem extends Error {
  constructor(status, detail, field = null, code = null, params = {}) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.field = field;
    this.code = code;
    this.params = params;
  }
}

/** Who is looking: `{role, user}`. Throws a Problem of status 401 if a token is needed. */
export async function me() {
  const found = await call("GET", "/me");
  csrfToken = found.csrf_token ?? null;
  return found;
}

export const signIn = (token) => call("POST", "/session", { body: { token } });
export const signOut = () => call("DELETE", "/session");
export const list = (filter) => call("GET", `/sync-status/list?${query(filter)}`);
export const one = (id) => call("GET", `/sync-status/${id}`);

/** A batch with its days from one to another alone. */
export const stretch = (id, from, to) =>
  call("GET", `/sync-status/${id}/days?${query({ from, to })}`);

export const coverage = (asked) => call("GET", `/sync-status/coverage?${query(asked)}`);
export const cancel = (id) => call("POST", `/sync-status/${id}/cancel`, { body: {} });
export const retry = (id) => call("POST", `/sync-status/${id}/retry`, { body: {} });

/** The datasets, by name. */
export async function datasets() {
  const found = await call("GET", "/datasets");
  return found.datasets.sort((a, b) => a.name.localeCompare(b.name));
}

/** What launching this would mean; nothing is written. */
export const preview = (request, signal) =>
  call("POST", "/sync-status/sync/batch/preview", { body: request, signal });

/** Launches a batch. The same key and the same request, sent again, launch it no second time. */
export const launch = (request, key) =>
  call("POST", "/sync-status/sync/batch", { body: request, headers: { "Idempotency-Key": key } });

/** A key that nobody else has. Not randomUUID, which only secure addresses may use. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function query(asked) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") parameters.append(name, each);
    }
  }
  return parameters;
}

async function call(method, path, options = {}, again = true) {
  const response = await send(method, path, options);
  if (response.ok) return response.status === 204 ? {} : ((await json(response)).data ?? {});
  const problem = problemOf(response.status, await json(response));
  if (response.status === 403 && method !== "GET" && again && (await renewed())) {
    return call(method, path, options, false);
  }
  if (response.status === 401 && path !== "/session") {
    window.dispatchEvent(new CustomEvent("signed-out"));
  }
  throw problem;
}

async function send(method, path, { body, headers = {}, signal }) {
  const all = { Accept: "application/json", ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (method !== "GET" && csrfToken !== null) all["X-CSRF-Token"] = csrfToken;
  try {
    const response = await fetch(BASE + path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      signal,
    });
    noteTime(response.headers.get("Date"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, t("problem.unreachable"));
  }
}

/** A server that was started anew has another CSRF token. Returns whether this one is new. */
async function renewed() {
  const before = csrfToken;
  await me().catch(() => null);
  return csrfToken !== before;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

function problemOf(status, answer) {
  const detail = typeof answer.detail === "string" ? answer.detail : answer.title;
  const said = detail ?? t("problem.status", { status });
  return new Problem(status, said, answer.field ?? null, answer.code, answer.params);
}
