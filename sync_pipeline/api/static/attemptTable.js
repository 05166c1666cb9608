// A table of attempts, one page at a time, because a batch may have thousands of days.

import { AttemptRow } from "./attemptRow.js";
import { h, setText } from "./dom.js";
import { formatDayRange, formatNumber } from "./format.js";
import { t } from "./i18n.js";

const PAGE_SIZE = 200;

export class AttemptTable {
  #columns;
  #keyOf;
  #attempts = [];
  #dagsterUrl = null;
  #first = 0;
  #rows = new Map();

  /** `keyOf` returns a unique key of an attempt. */
  constructor(columns, keyOf) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.body = h("tbody");
    this.previous = this.#pageButton(-PAGE_SIZE, "days.previous");
    this.next = this.#pageButton(PAGE_SIZE, "days.next");
    this.position = h("span", { class: "secondary" });
    this.pager = h("div", { class: "pager", hidden: true }, this.previous, this.position, this.next);
    const headings = columns.map((name) =>
      h("th", { scope: "col", class: name }, t(`attempts.column.${name}`)),
    );
    const table = h("table", {}, h("thead", {}, h("tr", {}, headings)), this.body);
    this.element = h("div", { class: "attempts" }, table, this.pager);
  }

  /** Shows the current page of these attempts. */
  update(attempts, dagsterUrl) {
    this.#attempts = attempts;
    this.#dagsterUrl = dagsterUrl;
    this.#draw();
  }

  /** Turns to the page of a day, scrolls to its row and focuses it. */
  reveal(day) {
    const index = this.#attempts.findIndex((each) => each.sync_date === day);
    if (index < 0) return;
    this.#first = index - (index % PAGE_SIZE);
    this.#draw();
    const { row } = this.#rows.get(this.#keyOf(this.#attempts[index]));
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  }

  #draw() {
    if (this.#first >= this.#attempts.length) this.#first = 0;
    const page = this.#attempts.slice(this.#first, this.#first + PAGE_SIZE);
    const keys = new Set(page.map(this.#keyOf));
    for (const [key, row] of this.#rows) {
      if (!keys.has(key)) (row.remove(), this.#rows.delete(key));
    }
    let next = this.body.firstElementChild;
    for (const attempt of page) {
      for (const element of this.#rowOf(attempt).elements) {
        if (element === next) next = next.nextElementSibling;
        else this.body.insertBefore(element, next);
      }
    }
    this.#updatePager(page);
  }

  #rowOf(attempt) {
    const key = this.#keyOf(attempt);
    if (!this.#rows.has(key)) this.#rows.set(key, new AttemptRow(attempt, this.#columns));
    const row = this.#rows.get(key);
    row.update(attempt, this.#dagsterUrl);
    return row;
  }

  #pageButton(step, key) {
    const onclick = () => {
      this.#first += step;
      this.#draw();
      this.element.scrollIntoView({ block: "start" });
    };
    return h("button", { type: "button", class: "plain small", onclick }, t(key));
  }

  #updatePager(page) {
    const total = this.#attempts.length;
    this.pager.hidden = total <= PAGE_SIZE;
    if (this.pager.hidden) return;
    const [first, last] = [page[0].sync_date, page.at(-1).sync_date].sort();
    const values = {
      days: formatDayRange(first, last),
      n: formatNumber(page.length),
      total: formatNumber(total),
    };
    setText(this.position, t("days.page", values));
    this.previous.disabled = this.#first === 0;
    this.next.disabled = this.#first + PAGE_SIZE >= total;
  }
}
