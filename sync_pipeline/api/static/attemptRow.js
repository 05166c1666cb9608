// One attempt at a day: a line of a table, and a second with the reason if it failed.

import { h, replace, setAttribute, setText } from "./dom.js";
import { bytes, duration, fullMoment, moment, number, weekday } from "./format.js";
import { t } from "./i18n.js";
import { StateMark } from "./states.js";

export class DayLine {
  #shown = null;
  #run;
  #reason = null;

  /** `columns` are the names of the table's, "day" and "state" first. */
  constructor(day, columns) {
    this.columns = columns;
    this.mark = new StateMark(day.state);
    this.cells = Object.fromEntries(
      columns.slice(2).map((name) => [name, h("td", { class: name })]),
    );
    const name = [day.sync_date, h("span", { class: "second" }, ` ${weekday(day.sync_date)}`)];
    this.row = h(
      "tr",
      { tabindex: "-1" },
      h("th", { scope: "row", class: "day" }, name),
      h("td", { class: "state" }, this.mark.element),
      Object.values(this.cells),
    );
  }

  /** Its rows in the table, one or two. */
  get rows() {
    return this.#reason ? [this.row, this.#reason] : [this.row];
  }

  update(day, dagster) {
    if (day === this.#shown) return;
    this.#shown = day;
    this.mark.update(day.state);
    for (const [name, text] of Object.entries(textsOf(day))) {
      if (name in this.cells) setText(this.cells[name], text);
    }
    if (day.started_at) setAttribute(this.cells.at, "title", fullMoment(day.started_at));
    this.#showRun(day.run_id, dagster);
    this.#showReason(day.error_message);
  }

  remove() {
    for (const row of this.rows) row.remove();
  }

  #showRun(run, dagster) {
    if (this.#run === run) return;
    this.#run = run;
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

  #showReason(error) {
    this.#reason?.remove();
    const cell = { colspan: this.columns.length, class: "error", lang: "en" };
    this.#reason = error ? h("tr", { class: "reason" }, h("td", cell, error)) : null;
    if (this.#reason && this.row.isConnected) this.row.after(this.#reason);
  }
}

function textsOf(day) {
  const counted = day.state === "success" || day.state === "failed";
  const isIn = day.state === "success";
  return {
    try: String(day.attempt ?? ""),
    read: counted ? number(day.rows_read) : "",
    loaded: isIn ? number(day.rows_loaded) : "",
    rejected: day.rows_rejected ? number(day.rows_rejected) : "",
    bytes: isIn && day.bytes ? bytes(day.bytes) : "",
    took: duration(day.duration_seconds),
    at: day.started_at ? moment(day.started_at) : "",
    by: day.triggered_by ?? "",
  };
}
