// The URLs of the API. Separate from api.js because the shared worker imports only these.

export const BASE = "/api/v1";

/** Returns the URL of the event stream: changes after `after`, or only new ones if it is null. */
export const eventsUrl = (after) => `${BASE}/events${after === null ? "" : `?after=${after}`}`;
