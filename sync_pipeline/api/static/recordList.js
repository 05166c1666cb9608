// The list of records: loaded in pages, kept in step with the live stream.

import { list } from "./api.js";
import { everySecond } from "./clock.js";
import { h, replace, setText, throttled } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";
import { latest } from "./recordCache.js";
import { comparison, filterOf, isNarrowed, matches } from "./listQuery.js";
import { Row } from "./recordRow.js";
import { serverNow } from "./serverTime.js";

const PAGE = 50;
const MOST_AT_ONCE = 200;
const MOST_GROWN = 500; // rows that the stream may add before the list begins anew
const IN_DOUBT = 2000; // milliseconds by which the server's clock may be misread
const RECOUNT = 2000; // milliseconds, at most this often
const HEADINGS = ["is", "what", "progress", "amounts", "pace", "began", "does", "note"];

export class RecordList {
  #app;
  #query;
  #rows = new Map();
  #next = null;
  #total = 0;
  #estimate = false;
  #asked = 0;
  #grown = 0;
  #countedAt = 0;
  #recount = throttled(() => this.#app.guarded(() => this.#count()), RECOUNT);
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
          h("div", { class: "row headings", role: "row" }, HEADINGS.map(heading)),
        ),
        this.body,
      ),
      this.empty,
      h("div", { class: "end" }, this.count, this.more),
    );
    this.#stopTicking = everySecond(() => this.#tick());
  }

  /** How many records are shown: the page asks for as many when it is come back to. */
  get loaded() {
    return this.#rows.size;
  }

  destroy() {
    this.#recount.cancel();
    this.#stopTicking();
  }

  /** Loads the first records of a query, or the same again. Throws a Problem. */
  async load(query = this.#query, atLeast = this.#rows.size) {
    const asked = ++this.#asked;
    const changed = query !== this.#query;
    this.#query = query;
    const began = performance.now();
    const page = await firstOf(query, changed ? PAGE : Math.max(PAGE, atLeast));
    if (asked !== this.#asked) return;
    this.#grown = 0;
    const answered = new Set(page.records.map((record) => record.id));
    for (const [id, row] of this.#rows) {
      // One that came over the stream since then is not in the answer, and stays.
      if (!answered.has(id) && (changed || row.receivedAt < began)) this.#remove(id, row);
    }
    this.#take(page);
  }

  async #loadMore() {
    const asked = ++this.#asked;
    const last = this.body.lastElementChild;
    this.more.disabled = true;
    try {
      const page = await list({ ...filterOf(this.#query), after: this.#next, page_size: PAGE });
      if (asked !== this.#asked) return;
      this.#take(page);
      (last?.nextElementSibling ?? last)?.querySelector("a")?.focus();
    } catch (problem) {
      this.#app.sayProblem(problem);
    } finally {
      this.more.disabled = false;
    }
  }

  #take(page) {
    this.#next = page.next;
    this.#setTotal(page);
    for (const record of page.records.map(latest)) {
      if (matches(this.#query, record)) this.#put(record);
    }
    this.#arrange();
  }

  #setTotal(page) {
    this.#total = page.total;
    this.#estimate = Boolean(page.total_is_estimate);
    this.#countedAt = serverNow();
  }

  /** Asks how many there are. Throws a Problem. */
  async #count() {
    const asked = this.#asked;
    const page = await list({ ...filterOf(this.#query), page_size: 1 });
    if (asked !== this.#asked) return;
    this.#setTotal(page);
    this.#showCount();
  }

  /** Takes in records that changed. */
  update(records) {
    let arrange = false;
    const last = [...this.#rows.values()].at(-1)?.record;
    for (const record of records) {
      const row = this.#rows.get(record.id);
      const belongs = matches(this.#query, record);
      if (row && belongs) {
        const before = row.record;
        row.update(record);
        arrange ||= comparison(this.#query.sort)(before, row.record) !== 0 && before !== row.record;
      } else if (row) {
        this.#remove(record.id, row);
        this.#total -= 1;
        arrange = true;
      } else if (belongs && this.#isWithin(record, last)) {
        this.#put(record);
        // One from before may have been counted already, as a day that is synced again.
        if (Date.parse(record.created_at) > this.#countedAt + IN_DOUBT) this.#total += 1;
        else this.#recount();
        this.#grown += 1;
        arrange = true;
      }
    }
    if (this.#grown > MOST_GROWN) {
      this.#grown = 0;
      this.#app.guarded(() => this.load(this.#query, PAGE));
    }
    if (arrange) this.#arrange();
  }

  /** Whether a record's place is among those shown, not after them where more are to come. */
  #isWithin(record, last) {
    return this.#next === null || !last || comparison(this.#query.sort)(record, last) < 0;
  }

  #put(record) {
    const row = this.#rows.get(record.id);
    if (row) row.update(record);
    else this.#rows.set(record.id, new Row(record, this.#app));
  }

  #remove(id, row) {
    if (row.element.contains(document.activeElement)) {
      const near = row.element.nextElementSibling ?? row.element.previousElementSibling;
      near?.querySelector("a")?.focus();
    }
    row.element.remove();
    this.#rows.delete(id);
  }

  /** Puts the rows in order, moving only those out of it, so that focus and selection stay. */
  #arrange() {
    const compare = comparison(this.#query.sort);
    const rows = [...this.#rows.values()].sort((a, b) => compare(a.record, b.record));
    this.#rows = new Map(rows.map((row) => [row.record.id, row]));
    let at = this.body.firstElementChild;
    for (const row of rows) {
      if (row.element === at) at = at.nextElementSibling;
      else this.body.insertBefore(row.element, at);
    }
    this.empty.hidden = rows.length > 0;
    replace(this.empty, t(isNarrowed(this.#query) ? "list.noneOfThese" : "list.none"));
    this.more.hidden = this.#next === null;
    this.#showCount();
  }

  #showCount() {
    const shown = this.#rows.size;
    const n = { shown: number(shown), total: number(Math.max(this.#total, shown)) };
    setText(this.count, shown ? t(this.#estimate ? "list.countAbout" : "list.count", n) : "");
  }

  #tick() {
    for (const row of this.#rows.values()) if (row.record.status === "syncing") row.tick();
  }
}

/** Loads the first so many records of a query, as one page. Throws a Problem. */
async function firstOf(query, count) {
  const filter = filterOf(query);
  let page = await list({ ...filter, page_size: Math.min(MOST_AT_ONCE, count) });
  const records = page.records;
  while (page.next !== null && records.length < count) {
    const size = Math.min(MOST_AT_ONCE, count - records.length);
    page = await list({ ...filter, after: page.next, page_size: size });
    records.push(...page.records);
  }
  return { ...page, records };
}

const heading = (name) => h("div", { class: name, role: "columnheader" }, t(`column.${name}`));
