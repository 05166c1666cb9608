// The list of records: loaded page by page, and updated by the live stream.

import { listRecords } from "./api.js";
import { h, replace, setText, throttle } from "./dom.js";
import { formatNumber } from "./format.js";
import { t } from "./i18n.js";
import { comparator, isFiltered, matches, toApiParameters } from "./listQuery.js";
import { everySecond } from "./pace.js";
import { latest } from "./recordCache.js";
import { RecordRow } from "./recordRow.js";
import { serverNow } from "./serverTime.js";

const PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 200;
const MAX_ADDED = 500; // rows that the stream may add before the list is loaded again
const CLOCK_TOLERANCE = 2000; // milliseconds by which the server's clock may be misread
const COUNT_INTERVAL = 2000; // milliseconds between two counts of the records, at least
const COLUMNS = [
  "status",
  "record",
  "progress",
  "row-count",
  "duration",
  "started",
  "actions",
  "messages",
];

export class RecordList {
  #app;
  #query;
  #rows = new Map();
  #nextCursor = null;
  #total = 0;
  #totalIsEstimate = false;
  #requestNumber = 0;
  #added = 0;
  #countedAt = 0;
  #countThrottled = throttle(() => this.#app.catchProblem(() => this.#count()), COUNT_INTERVAL);
  #stopTicking;

  constructor(app, query) {
    this.#app = app;
    this.#query = query;
    this.body = h("div", { class: "rows", role: "rowgroup" });
    this.count = h("p", { class: "count" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.more = h("button", { class: "plain more", type: "button", hidden: true }, t("list.more"));
    this.more.addEventListener("click", () => this.#loadMore());
    this.element = h(
      "div",
      { class: "records" },
      h(
        "div",
        { class: "table", role: "table", "aria-label": t("list.label") },
        h(
          "div",
          { role: "rowgroup" },
          h("div", { class: "row headings", role: "row" }, COLUMNS.map(heading)),
        ),
        this.body,
      ),
      this.empty,
      h("div", { class: "end" }, this.count, this.more),
    );
    this.#stopTicking = everySecond(() => this.#tick());
  }

  /** The number of records shown, so that the same number is loaded when the user comes back. */
  get loaded() {
    return this.#rows.size;
  }

  destroy() {
    this.#countThrottled.cancel();
    this.#stopTicking();
  }

  /** Loads the first records of a query, or reloads the current one. Throws a Problem. */
  async load(query = this.#query, atLeast = this.#rows.size) {
    const request = ++this.#requestNumber;
    const changed = query !== this.#query;
    this.#query = query;
    const startedAt = performance.now();
    const page = await loadFirst(query, changed ? PAGE_SIZE : Math.max(PAGE_SIZE, atLeast));
    if (request !== this.#requestNumber) return;
    this.#added = 0;
    const loadedIds = new Set(page.records.map((record) => record.id));
    for (const [id, row] of this.#rows) {
      // Keep records that the stream added after the request started.
      if (!loadedIds.has(id) && (changed || row.receivedAt < startedAt)) this.#remove(id, row);
    }
    this.#addPage(page);
  }

  async #loadMore() {
    const request = ++this.#requestNumber;
    const last = this.body.lastElementChild;
    this.more.disabled = true;
    try {
      const page = await listRecords({
        ...toApiParameters(this.#query),
        after: this.#nextCursor,
        page_size: PAGE_SIZE,
      });
      if (request !== this.#requestNumber) return;
      this.#addPage(page);
      (last?.nextElementSibling ?? last)?.querySelector("a")?.focus();
    } catch (problem) {
      this.#app.notifyProblem(problem);
    } finally {
      this.more.disabled = false;
    }
  }

  #addPage(page) {
    this.#nextCursor = page.next;
    this.#setTotal(page);
    for (const record of page.records.map(latest)) {
      if (matches(this.#query, record)) this.#addOrUpdate(record);
    }
    this.#arrange();
  }

  #setTotal(page) {
    this.#total = page.total;
    this.#totalIsEstimate = Boolean(page.total_is_estimate);
    this.#countedAt = serverNow();
  }

  /** Fetches the number of matching records. Throws a Problem. */
  async #count() {
    const request = this.#requestNumber;
    const page = await listRecords({ ...toApiParameters(this.#query), page_size: 1 });
    if (request !== this.#requestNumber) return;
    this.#setTotal(page);
    this.#showCount();
  }

  /** Applies records that changed. */
  update(records) {
    const compare = comparator(this.#query.sort);
    let needsArranging = false;
    const last = [...this.#rows.values()].at(-1)?.record;
    for (const record of records) {
      const row = this.#rows.get(record.id);
      const isMatch = matches(this.#query, record);
      if (row && isMatch) {
        const before = row.record;
        row.update(record);
        needsArranging ||= before !== row.record && compare(before, row.record) !== 0;
      } else if (row) {
        this.#remove(record.id, row);
        this.#total -= 1;
        needsArranging = true;
      } else if (isMatch && this.#isWithinLoaded(record, last)) {
        this.#addOrUpdate(record);
        // An older record, such as a day that is synced again, may already be in the total.
        if (Date.parse(record.created_at) > this.#countedAt + CLOCK_TOLERANCE) this.#total += 1;
        else this.#countThrottled();
        this.#added += 1;
        needsArranging = true;
      }
    }
    if (this.#added > MAX_ADDED) {
      this.#added = 0;
      this.#app.catchProblem(() => this.load(this.#query, PAGE_SIZE));
    }
    if (needsArranging) this.#arrange();
  }

  /** Whether a record sorts among the loaded records, rather than on a page not loaded yet. */
  #isWithinLoaded(record, last) {
    return this.#nextCursor === null || !last || comparator(this.#query.sort)(record, last) < 0;
  }

  #addOrUpdate(record) {
    const row = this.#rows.get(record.id);
    if (row) row.update(record);
    else this.#rows.set(record.id, new RecordRow(record, this.#app));
  }

  #remove(id, row) {
    if (row.element.contains(document.activeElement)) {
      const neighbor = row.element.nextElementSibling ?? row.element.previousElementSibling;
      neighbor?.querySelector("a")?.focus();
    }
    row.element.remove();
    this.#rows.delete(id);
  }

  /** Sorts the rows and moves only those out of order, so that focus and selection are kept. */
  #arrange() {
    const compare = comparator(this.#query.sort);
    const rows = [...this.#rows.values()].sort((a, b) => compare(a.record, b.record));
    this.#rows = new Map(rows.map((row) => [row.record.id, row]));
    let next = this.body.firstElementChild;
    for (const row of rows) {
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
    }
    this.empty.hidden = rows.length > 0;
    replace(this.empty, t(isFiltered(this.#query) ? "list.noMatch" : "list.none"));
    this.more.hidden = this.#nextCursor === null;
    this.#showCount();
  }

  #showCount() {
    const shown = this.#rows.size;
    const values = {
      shown: formatNumber(shown),
      total: formatNumber(Math.max(this.#total, shown)),
    };
    const key = this.#totalIsEstimate ? "list.approximateCount" : "list.count";
    setText(this.count, shown ? t(key, values) : "");
  }

  #tick() {
    for (const row of this.#rows.values()) if (row.record.status === "syncing") row.tick();
  }
}

/** Loads the first `count` records of a query as one page. Throws a Problem. */
async function loadFirst(query, count) {
  const filter = toApiParameters(query);
  let page = await listRecords({ ...filter, page_size: Math.min(MAX_PAGE_SIZE, count) });
  const records = page.records;
  while (page.next !== null && records.length < count) {
    const size = Math.min(MAX_PAGE_SIZE, count - records.length);
    page = await listRecords({ ...filter, after: page.next, page_size: size });
    records.push(...page.records);
  }
  return { ...page, records };
}

const heading = (name) => h("div", { class: name, role: "columnheader" }, t(`column.${name}`));
