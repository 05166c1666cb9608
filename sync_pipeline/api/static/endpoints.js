// Where the API is. Of its own, because the worker that shares the stream needs nothing else of it.

export const BASE = "/api/v1";

/** The address of the stream of changes after this one; of new ones only if it is null. */
export const eventsAddress = (after) => `${BASE}/events${after === null ? "" : `?after=${after}`}`;
