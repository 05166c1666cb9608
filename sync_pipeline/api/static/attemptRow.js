// An attempt to sync a day as a table row, followed by a second row with the error if it failed.

import { h, replace, setAttribute, setText } from "./dom.js";
import {
  formatBytes,
  formatDuration,
  formatFullTime,
  formatNumber,
  formatTime,
  weekdayName,
} from "./format.js";
import { t } from "./i18n.js";
import { StateLabel } from "./states.js";

export class AttemptRow {
  #shown = null;
  #runId;
  #errorRow = null;

  /** `columns` are the column names of the table; the first two are "day" and "state". */
  constructor(attempt, columns) {
    this.columns = columns;
    this.state = new StateLabel(attempt.state);
    this.cells = Object.fromEntries(
      columns.slice(2).map((name) => [name, h("td", { class: name })]),
    );
    const weekday = h("span", { class: "secondary" }, ` ${weekdayName(attempt.sync_date)}`);
    this.row = h(
      "tr",
      { tabindex: "-1" },
      h("th", { scope: "row", class: "day" }, attempt.sync_date, weekday),
      h("td", { class: "state" }, this.state.element),
      Object.values(this.cells),
    );
  }

  /** The one or two table rows. */
  get elements() {
    return this.#errorRow ? [this.row, this.#errorRow] : [this.row];
  }

  update(attempt, dagsterUrl) {
    if (attempt === this.#shown) return;
    this.#shown = attempt;
    this.state.update(attempt.state);
    for (const [name, text] of Object.entries(cellTexts(attempt))) {
      if (name in this.cells) setText(this.cells[name], text);
    }
    if (attempt.started_at) {
      setAttribute(this.cells.started, "title", formatFullTime(attempt.started_at));
    }
    this.#showRun(attempt.run_id, dagsterUrl);
    this.#showError(attempt.error_message);
  }

  remove() {
    for (const element of this.elements) element.remove();
  }

  #showRun(runId, dagsterUrl) {
    if (this.#runId === runId) return;
    this.#runId = runId;
    const short = runId?.slice(0, 8);
    const attributes = {
      "aria-label": t("action.openInDagster", { what: short }),
      target: "_blank",
      rel: "noopener",
    };
    const link =
      dagsterUrl &&
      h("a", { ...attributes, href: `${dagsterUrl}/runs/${encodeURIComponent(runId)}` }, short);
    replace(this.cells.run, runId ? link || short : null);
  }

  #showError(error) {
    this.#errorRow?.remove();
    const attributes = { colspan: this.columns.length, class: "error", lang: "en" };
    this.#errorRow = error ? h("tr", { class: "error-row" }, h("td", attributes, error)) : null;
    if (this.#errorRow && this.row.isConnected) this.row.after(this.#errorRow);
  }
}

function cellTexts(attempt) {
  const hasEnded = attempt.state === "success" || attempt.state === "failed";
  const isSynced = attempt.state === "success";
  return {
    attempt: String(attempt.attempt ?? ""),
    read: hasEnded ? formatNumber(attempt.rows_read) : "",
    loaded: isSynced ? formatNumber(attempt.rows_loaded) : "",
    rejected: attempt.rows_rejected ? formatNumber(attempt.rows_rejected) : "",
    size: isSynced && attempt.bytes ? formatBytes(attempt.bytes) : "",
    duration: formatDuration(attempt.duration_seconds),
    started: attempt.started_at ? formatTime(attempt.started_at) : "",
    "triggered-by": attempt.triggered_by ?? "",
  };
}
