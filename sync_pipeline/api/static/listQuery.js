// What the list is asked for: read from the page's address, written into it, asked of the API, and
// held against records that come over the live stream.

export const KINDS = ["batch", "day", "all"];
export const STATUSES = ["syncing", "failed", "success"];
export const SORTS = [
  "-start_time",
  "start_time",
  "-sync_date",
  "sync_date",
  "-duration_seconds",
  "-id",
];
const NONE = {
  dataset: "",
  kind: "batch",
  status: [],
  from: "",
  to: "",
  q: "",
  sort: "-start_time",
};
const DAY = /^\d{4}-\d\d-\d\d$/;

/** The query in an address's parameters; what is not one is left out. */
export function queryOf(parameters) {
  const get = (name) => parameters.get(name) ?? NONE[name];
  const day = (name) => (DAY.test(get(name)) ? get(name) : "");
  const known = (name, all) => (all.includes(get(name)) ? get(name) : NONE[name]);
  return {
    dataset: get("dataset"),
    kind: known("kind", KINDS),
    status: parameters.getAll("status").filter((each) => STATUSES.includes(each)),
    from: day("from"),
    to: day("to"),
    q: get("q").slice(0, 100),
    sort: known("sort", SORTS),
  };
}

/** The parameters of an address that leads to this query, without a leading question mark. */
export function parametersOf(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (String(value) === String(NONE[name])) continue;
    for (const each of [value].flat()) parameters.append(name, each);
  }
  return String(parameters);
}

/** Whether anything but the order is asked for. */
export const isNarrowed = (query) => parametersOf({ ...query, sort: NONE.sort }) !== "";

/** The query as the API's parameters. */
export const filterOf = (query) => ({ ...query, kind: query.kind === "all" ? "" : query.kind });

/** Whether the API would put this record in the list. */
export function matches(query, record) {
  const text = `${record.remarks ?? ""}\n${record.error_message ?? ""}`.toLowerCase();
  return (
    (query.kind === "all" || record.kind === query.kind) &&
    (!query.dataset || record.dataset === query.dataset) &&
    (!query.status.length || query.status.includes(record.status)) &&
    (!query.from || record.end_date >= query.from) &&
    (!query.to || record.start_date <= query.to) &&
    (!query.q || text.includes(query.q.toLowerCase()))
  );
}

/** Compares two records in the order of the list; those without the value come last. */
export function comparison(sort) {
  const down = sort.startsWith("-");
  const column = sort.replace("-", "");
  const valueOf = (record) =>
    column === "start_time" ? Date.parse(record.start_time) : record[column];
  return (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    const order = x === y ? a.id - b.id : x < y ? -1 : 1;
    return down ? -order : order;
  };
}
