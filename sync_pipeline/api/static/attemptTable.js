// A table of attempts at days, so many lines at a time: a batch may have thousands of days.

import { DayLine } from "./attemptRow.js";
import { h, setText } from "./dom.js";
import { number, range } from "./format.js";
import { t } from "./i18n.js";

const PAGE = 200;

export class Lines {
  #columns;
  #keyOf;
  #all = [];
  #dagster = null;
  #first = 0;
  #lines = new Map();

  /** `keyOf` gives what tells an attempt from the others. */
  constructor(columns, keyOf) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.body = h("tbody");
    this.earlier = this.#turn(-PAGE, "days.before");
    this.later = this.#turn(PAGE, "days.after");
    this.words = h("span", { class: "second" });
    this.pager = h("div", { class: "pager", hidden: true }, this.earlier, this.words, this.later);
    const headings = columns.map((name) =>
      h("th", { scope: "col", class: name }, t(`day.column.${name}`)),
    );
    const table = h("table", {}, h("thead", {}, h("tr", {}, headings)), this.body);
    this.element = h("div", { class: "lines" }, table, this.pager);
  }

  /** Shows these attempts, those of the page that is looked at. */
  update(attempts, dagster) {
    this.#all = attempts;
    this.#dagster = dagster;
    this.#draw();
  }

  /** Turns to the line of a day, and marks it. */
  reveal(day) {
    const at = this.#all.findIndex((each) => each.sync_date === day);
    if (at < 0) return;
    this.#first = at - (at % PAGE);
    this.#draw();
    const { row } = this.#lines.get(this.#keyOf(this.#all[at]));
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  }

  #draw() {
    if (this.#first >= this.#all.length) this.#first = 0;
    const page = this.#all.slice(this.#first, this.#first + PAGE);
    const keys = new Set(page.map(this.#keyOf));
    for (const [key, line] of this.#lines) {
      if (!keys.has(key)) (line.remove(), this.#lines.delete(key));
    }
    let at = this.body.firstElementChild;
    for (const attempt of page) {
      const line = this.#lineOf(attempt);
      for (const row of line.rows) {
        if (row === at) at = at.nextElementSibling;
        else this.body.insertBefore(row, at);
      }
    }
    this.#showPager(page);
  }

  #lineOf(attempt) {
    const key = this.#keyOf(attempt);
    if (!this.#lines.has(key)) this.#lines.set(key, new DayLine(attempt, this.#columns));
    const line = this.#lines.get(key);
    line.update(attempt, this.#dagster);
    return line;
  }

  #turn(by, name) {
    const turn = () => {
      this.#first += by;
      this.#draw();
      this.element.scrollIntoView({ block: "start" });
    };
    return h("button", { type: "button", class: "plain small", onclick: turn }, t(name));
  }

  #showPager(page) {
    const total = this.#all.length;
    this.pager.hidden = total <= PAGE;
    if (this.pager.hidden) return;
    const days = [page[0].sync_date, page.at(-1).sync_date].sort();
    const values = { days: range(...days), n: number(page.length), total: number(total) };
    setText(this.words, t("days.page", values));
    this.earlier.disabled = this.#first === 0;
    this.later.disabled = this.#first + PAGE >= total;
  }
}
