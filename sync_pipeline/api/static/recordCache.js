// The latest version of each record received over the live stream. A response of the API that was
// requested earlier may be older than these.

const MAX_RECORDS = 5000;
const cached = new Map();
/** `change` orders the versions of a record, but only within one epoch: see `clear`. */
let epoch = 0;

/** Stores records that changed. */
export function store(records) {
  for (const record of records) {
    record.epoch = epoch;
    if ((cached.get(record.id)?.change ?? -1) > record.change) continue;
    cached.delete(record.id); // so that it is inserted last and evicted last
    cached.set(record.id, record);
  }
  for (const id of cached.keys()) {
    if (cached.size <= MAX_RECORDS) break;
    cached.delete(id);
  }
}

/** Returns the cached version of a record if it is newer, else the record itself. */
export function latest(record) {
  const stored = cached.get(record.id);
  if (stored !== undefined && stored.change > record.change) return stored;
  record.epoch ??= epoch;
  return record;
}

/** Returns all cached records. */
export const cachedRecords = () => [...cached.values()];

/** Whether a record is older than the version that is shown, which may be null. */
export const isOlder = (record, shown) =>
  shown !== null && record.epoch === shown.epoch && record.change < shown.change;

/**
 * Empties the cache and starts a new epoch. Needed when changes were missed, or when the database
 * was restored and its change numbers start again from lower values.
 */
export function clear() {
  cached.clear();
  epoch += 1;
}
