// The latest form of each record that came over the live stream. An answer of the API that was
// under way meanwhile may be older than that.

const MOST = 5000;
const known = new Map();

/** Notes records that changed. */
export function note(records) {
  for (const record of records) {
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
  return noted !== undefined && noted.change > record.change ? noted : record;
}

/** Returns all that were noted. */
export const noted = () => [...known.values()];
