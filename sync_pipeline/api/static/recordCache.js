// The latest form of each record that came over the live stream. An answer of the API that was
// under way meanwhile may be older than that.

const MOST = 5000;
const known = new Map();
/** Which form of a record is the later is told by `change`, within an era: see `forget`. */
let era = 0;

/** Notes records that changed. */
export function note(records) {
  for (const record of records) {
    record.era = era;
    if ((known.get(record.id)?.change ?? -1) > record.change) continue;
    known.delete(record.id); // what was noted last stands last
    known.set(record.id, record);
  }
  for (const id of known.keys()) {
    if (known.size <= MOST) break;
    known.delete(id);
  }
}

/** Returns the record, or what is known of it if that is newer. */
export function latest(record) {
  const noted = known.get(record.id);
  if (noted !== undefined && noted.change > record.change) return noted;
  record.era ??= era;
  return record;
}

/** Returns all that were noted. */
export const noted = () => [...known.values()];

/** Whether a record is an older form of what is shown of it. */
export const isOlder = (record, shown) =>
  shown !== null && record.era === shown.era && record.change < shown.change;

/**
 * Forgets all that was noted: more changed than was told, or the database was restored, and its
 * numbers begin again at lower ones.
 */
export function forget() {
  known.clear();
  era += 1;
}
