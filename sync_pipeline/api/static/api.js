// The API calls. Each returns the `data` of the response, or throws a Problem.

import { BASE } from "./endpoints.js";
import { t } from "./i18n.js";
import { recordServerTime } from "./serverTime.js";

/**
 * A failed call: the API's English message, the request field that caused it, if any, the problem
 * code, and the code's parameters.
 */
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

/** Returns the current user as `{role, user}`. Throws a Problem with status 401 without a session. */
export const getCurrentUser = () => call("GET", "/me");

export const signIn = (token) => call("POST", "/session", { body: { token } });
export const signOut = () => call("DELETE", "/session");
export const listRecords = (filter) => call("GET", `/sync-status/list?${toParameters(filter)}`);
export const getRecord = (id) => call("GET", `/sync-status/${id}`);

/** Returns a batch with only its days between `from` and `to`, both included. */
export const getBatchDays = (id, from, to) =>
  call("GET", `/sync-status/${id}/days?${toParameters({ from, to })}`);

export const getCoverage = (options) =>
  call("GET", `/sync-status/coverage?${toParameters(options)}`);
export const cancelBatch = (id) => call("POST", `/sync-status/${id}/cancel`, { body: {} });
export const retryBatch = (id) => call("POST", `/sync-status/${id}/retry`, { body: {} });

/** Returns the datasets, sorted by name. */
export async function listDatasets() {
  const found = await call("GET", "/datasets");
  return found.datasets.sort((a, b) => a.name.localeCompare(b.name));
}

/** Returns which days a launch would sync and skip, without launching anything. */
export const previewLaunch = (request, signal) =>
  call("POST", "/sync-status/sync/batch/preview", { body: request, signal });

/** Launches a batch. Idempotent: sending the same request again with the same key has no effect. */
export const launchBatch = (request, key) =>
  call("POST", "/sync-status/sync/batch", { body: request, headers: { "Idempotency-Key": key } });

/** Returns a random idempotency key. Not `randomUUID`, which is limited to secure contexts. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function toParameters(values) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") parameters.append(name, each);
    }
  }
  return parameters;
}

async function call(method, path, options = {}) {
  const response = await send(method, path, options);
  if (response.ok) return response.status === 204 ? {} : ((await parseJson(response)).data ?? {});
  const problem = toProblem(response.status, await parseJson(response));
  if (response.status === 401 && path !== "/session") {
    window.dispatchEvent(new CustomEvent("signed-out"));
  }
  throw problem;
}

async function send(method, path, { body, headers = {}, signal }) {
  const allHeaders = { Accept: "application/json", ...headers };
  if (body !== undefined) allHeaders["Content-Type"] = "application/json";
  try {
    const response = await fetch(BASE + path, {
      method,
      headers: allHeaders,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      signal,
    });
    recordServerTime(response.headers.get("Date"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, t("problem.unreachable"));
  }
}

async function parseJson(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

function toProblem(status, body) {
  const detail = typeof body.detail === "string" ? body.detail : body.title;
  const message = detail ?? t("problem.status", { status });
  return new Problem(status, message, body.field ?? null, body.code, body.params);
}
