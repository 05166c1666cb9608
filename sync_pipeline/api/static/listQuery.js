// The query of the record list: converts it from and to URL parameters and API parameters, and
// matches records of the live stream against it.

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
export const DEFAULTS = {
  dataset: "",
  kind: "batch",
  status: [],
  from: "",
  to: "",
  q: "",
  sort: "-start_time",
};
const DAY = /^\d{4}-\d\d-\d\d$/;
const MAX_TEXT_LENGTH = 100;

/** Parses URL parameters; invalid values are replaced by the defaults. */
export function parseQuery(parameters) {
  const get = (name) => parameters.get(name) ?? DEFAULTS[name];
  const day = (name) => (DAY.test(get(name)) ? get(name) : "");
  const oneOf = (name, allowed) => (allowed.includes(get(name)) ? get(name) : DEFAULTS[name]);
  return {
    dataset: get("dataset"),
    kind: oneOf("kind", KINDS),
    status: parameters.getAll("status").filter((each) => STATUSES.includes(each)),
    from: day("from"),
    to: day("to"),
    q: get("q").slice(0, MAX_TEXT_LENGTH),
    sort: oneOf("sort", SORTS),
  };
}

/** Returns the URL parameters of a query, without a leading question mark. */
export function toUrlParameters(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (String(value) === String(DEFAULTS[name])) continue;
    for (const each of [value].flat()) parameters.append(name, each);
  }
  return String(parameters);
}

/** Whether the query differs from the defaults in more than the order. */
export const isFiltered = (query) => toUrlParameters({ ...query, sort: DEFAULTS.sort }) !== "";

/** Returns the parameters of a query for the API. */
export const toApiParameters = (query) => ({
  ...query,
  kind: query.kind === "all" ? "" : query.kind,
});

/** Whether the API would include this record in the list. */
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

/** Returns a function that compares records in the order of `sort`; null values come last. */
export function comparator(sort) {
  const descending = sort.startsWith("-");
  const column = sort.replace("-", "");
  const valueOf = (record) =>
    column === "start_time" ? Date.parse(record.start_time) : record[column];
  return (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    const order = x === y ? a.id - b.id : x < y ? -1 : 1;
    return descending ? -order : order;
  };
}
