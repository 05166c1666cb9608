// The table of a record's days, and of earlier attempts at them.

import { h, replace, setAttribute, setText } from "./dom.js";
import { bytes, duration, fullMoment, moment, number, weekday } from "./format.js";
import { t } from "./i18n.js";
import { StateMark } from "./states.js";

const COLUMNS = ["day", "state", "try", "read", "loaded", "rejected", "bytes", "took", "at", "run"];
const STATES = ["failed", "syncing", "pending", "success", "skipped"];

/** The days of a batch, one line each; or, of a day's record, its attempts. */
export class DayTable {
  #lines = new Map();
  #state = "";
  #superseded = 0;
  #ofBatch;

  constructor(ofBatch) {
    this.#ofBatch = ofBatch;
    this.title = h("h2", {}, t(ofBatch ? "days.title" : "attempts.title"));
    this.filter = h("div", { class: "segments", role: "group", "aria-label": t("filter.status") });
    this.body = h("tbody");
    this.earlier = h("details", { class: "earlier", hidden: true });
    this.element = h(
      "section",
      { class: "days" },
      h("div", { class: "head" }, this.title, this.filter),
      table(this.body),
      this.earlier,
    );
  }

  /** Shows these days; `attempts` are all of them, also those that others stand in place of. */
  update(days, attempts, dagster) {
    const keys = new Set();
    let before = null;
    for (const day of days) {
      const key = this.#ofBatch ? day.sync_date : `${day.batch_id}-${day.attempt}-${day.run_id}`;
      keys.add(key);
      if (!this.#lines.has(key)) this.#add(key, day, before);
      before = this.#lines.get(key);
      before.update(day, dagster);
    }
    for (const [key, line] of this.#lines) {
      if (!keys.has(key)) (line.remove(), this.#lines.delete(key));
    }
    this.#choices(days);
    this.#show();
    if (!this.#ofBatch) return;
    const earlier = attempts.filter((each) => each.superseded);
    if (earlier.length !== this.#superseded) this.#earlier(earlier, dagster);
    this.#superseded = earlier.length;
  }

  /** Brings the line of a day into view, and marks it. */
  reveal(day) {
    this.#state = "";
    this.#show();
    const line = this.#lines.get(day);
    line?.row.scrollIntoView({ block: "center" });
    line?.row.focus({ preventScroll: true });
  }

  /** Adds a line after another, or as the first. */
  #add(key, day, before) {
    const line = new DayLine(day);
    this.#lines.set(key, line);
    if (before) before.reason.after(line.row, line.reason);
    else this.body.prepend(line.row, line.reason);
  }

  #choices(days) {
    const counts = {};
    for (const { state } of days) counts[state] = (counts[state] ?? 0) + 1;
    const wanted = ["", ...STATES.filter((state) => counts[state])];
    if (!wanted.includes(this.#state)) this.#state = "";
    this.filter.hidden = wanted.length < 3;
    const texts = wanted.map((state) => [
      state,
      t(state ? `state.${state}` : "days.all"),
      state ? counts[state] : days.length,
    ]);
    const buttons = [...this.filter.children];
    if (!buttons.length || buttons.map((each) => each.dataset.state).join() !== wanted.join()) {
      const focused = this.filter.contains(document.activeElement)
        ? document.activeElement.dataset.state
        : null;
      replace(
        this.filter,
        texts.map(([state]) => this.#choice(state)),
      );
      if (focused !== null) this.filter.querySelector(`[data-state="${focused}"]`)?.focus();
    }
    texts.forEach(([, text, count], n) =>
      setText(this.filter.children[n], `${text} ${number(count)}`),
    );
  }

  #choice(state) {
    const choose = () => {
      this.#state = state;
      this.#show();
    };
    return h("button", { type: "button", "data-state": state, onclick: choose });
  }

  #show() {
    for (const button of this.filter.children) {
      setAttribute(button, "aria-pressed", String(button.dataset.state === this.#state));
    }
    for (const line of this.#lines.values()) line.show(!this.#state || line.state === this.#state);
  }

  #earlier(attempts, dagster) {
    this.earlier.hidden = attempts.length === 0;
    const lines = attempts.map((attempt) => {
      const line = new DayLine(attempt);
      line.update(attempt, dagster);
      return [line.row, line.reason];
    });
    const summary = h("summary", {}, t("attempts.earlier", { n: attempts.length }));
    replace(this.earlier, summary, table(h("tbody", {}, lines)));
  }
}

const table = (body) =>
  h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        COLUMNS.map((name) => h("th", { scope: "col", class: name }, t(`day.column.${name}`))),
      ),
    ),
    body,
  );

/** One attempt at a day: a line, and a second with the reason if it failed. */
class DayLine {
  constructor(day) {
    this.mark = new StateMark(day.state);
    this.cells = Object.fromEntries(
      COLUMNS.slice(2).map((name) => [name, h("td", { class: name })]),
    );
    const name = [day.sync_date, h("span", { class: "second" }, ` ${weekday(day.sync_date)}`)];
    this.row = h(
      "tr",
      { tabindex: "-1" },
      h("th", { scope: "row", class: "day" }, name),
      h("td", { class: "state" }, this.mark.element),
      Object.values(this.cells),
    );
    this.error = h("td", { colspan: COLUMNS.length, class: "error", lang: "en" });
    this.reason = h("tr", { class: "reason" }, this.error);
  }

  update(day, dagster) {
    this.state = day.state;
    this.mark.update(day.state);
    const counted = day.state === "success" || day.state === "failed";
    const texts = {
      try: day.attempt ?? "",
      read: counted ? number(day.rows_read) : "",
      loaded: day.state === "success" ? number(day.rows_loaded) : "",
      rejected: day.rows_rejected ? number(day.rows_rejected) : "",
      bytes: day.state === "success" && day.bytes ? bytes(day.bytes) : "",
      took: duration(day.duration_seconds),
      at: day.started_at ? moment(day.started_at) : "",
    };
    for (const [name, text] of Object.entries(texts)) setText(this.cells[name], String(text));
    if (day.started_at) setAttribute(this.cells.at, "title", fullMoment(day.started_at));
    this.#run(day.run_id, dagster);
    setText(this.error, day.error_message ?? "");
  }

  #run(run, dagster) {
    if (this.run === run) return;
    this.run = run;
    const short = run?.slice(0, 8);
    const about = {
      "aria-label": t("action.dagsterOf", { what: short }),
      target: "_blank",
      rel: "noopener",
    };
    const link =
      dagster && h("a", { ...about, href: `${dagster}/runs/${encodeURIComponent(run)}` }, short);
    replace(this.cells.run, run ? link || short : null);
  }

  show(shown) {
    this.row.hidden = !shown;
    this.reason.hidden = !shown || !this.error.textContent;
  }

  remove() {
    this.row.remove();
    this.reason.remove();
  }
}
