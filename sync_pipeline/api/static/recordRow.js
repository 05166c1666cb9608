// A row of the record list.

import { h, setAttribute, setText } from "./dom.js";
import { formatDayRange, formatFullTime, formatNumber, formatTime, weekdayName } from "./format.js";
import { t } from "./i18n.js";
import { paceTexts } from "./pace.js";
import { ProgressBar, progressText } from "./progressBar.js";
import { RecordActions } from "./recordActions.js";
import { isOlder } from "./recordCache.js";
import { remainingRows } from "./remainingRows.js";
import { StateLabel, dayState } from "./states.js";

const cell = (name, ...children) => h("div", { class: name, role: "cell" }, children);

export class RecordRow {
  constructor(record, app) {
    this.record = null;
    this.state = new StateLabel(record.status);
    this.progressBar =
      record.kind === "batch"
        ? new ProgressBar(t("progress.label", { what: record.dataset }))
        : null;
    this.actions = new RecordActions(app);
    this.progress = h("span", { class: "progress-text" });
    this.rowCount = h("span", { class: "amount" });
    this.speed = h("span", { class: "secondary" });
    this.duration = h("span");
    this.started = h("time");
    this.triggeredBy = h("span", { class: "secondary" });
    this.remarks = h("span", { class: "remarks", lang: "zh-CN" });
    this.error = h("span", { class: "error", lang: "en" });
    this.dagsterLink = h(
      "a",
      { class: "external", target: "_blank", rel: "noopener" },
      t("action.dagster"),
    );
    this.element = this.#build(record);
    this.update(record);
  }

  #build(record) {
    return h(
      "div",
      { class: `row ${record.kind}`, role: "row", "data-id": record.id },
      cell("status", this.state.element),
      cell(
        "record",
        h(
          "a",
          { href: `/sync-status/${record.id}` },
          h("span", { class: "name" }, record.dataset),
          " ",
          this.#days(record),
        ),
        record.kind === "batch" ? h("span", { class: "badge" }, t("badge.batch")) : null,
      ),
      cell("progress", this.progressBar?.element ?? null, this.progress),
      cell("row-count", this.rowCount, this.speed),
      cell("duration", this.duration),
      cell("started", this.started, this.triggeredBy),
      cell("actions", this.actions.element, this.dagsterLink),
      cell("messages", this.error, this.remarks),
    );
  }

  #days(record) {
    const days = formatDayRange(record.start_date, record.end_date);
    if (record.kind === "batch") return h("span", { class: "days" }, days);
    const weekday = h("span", { class: "secondary" }, ` ${weekdayName(days)}`);
    return h("span", { class: "days" }, days, weekday);
  }

  /** Shows the record; ignores it if it is older than the one shown. */
  update(record) {
    if (isOlder(record, this.record)) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.state.update(record.status);
    this.progressBar?.update(record);
    setText(this.progress, this.progressBar ? progressText(record) : dayRowCounts(record));
    setText(this.rowCount, t("rows", { n: formatNumber(record.total_records) }));
    setText(this.started, formatTime(record.start_time));
    setAttribute(this.started, "datetime", record.start_time);
    setAttribute(this.started, "title", formatFullTime(record.start_time));
    setText(this.triggeredBy, record.triggered_by ?? "");
    setAttribute(this.triggeredBy, "title", record.triggered_by);
    setText(this.remarks, repeatsError(record) ? "" : (record.remarks ?? ""));
    setText(this.error, record.error_message ?? "");
    setAttribute(this.error, "title", record.error_message || null);
    setAttribute(this.dagsterLink, "href", record.dagster_url ?? null);
    setAttribute(
      this.dagsterLink,
      "aria-label",
      t("action.openInDagster", { what: record.dataset }),
    );
    this.dagsterLink.hidden = !record.dagster_url;
    this.actions.update(record);
    this.tick();
  }

  /** Updates the texts that change with time. */
  tick() {
    const { time, speed } = paceTexts(this.record, this.receivedAt);
    setText(this.duration, time);
    setText(this.speed, this.progressBar ? speed : "");
  }
}

function dayRowCounts(record) {
  if (dayState(record) === "resync_failed") return remainingRows(record);
  if (record.status !== "success") return "";
  const loaded = t("day.loaded", { n: formatNumber(record.success_count) });
  if (!record.failed_count) return loaded;
  return loaded + t("separator") + t("day.rejected", { n: formatNumber(record.failed_count) });
}

/** Whether the remarks end with the error message, as those of a failed day do. */
const repeatsError = ({ remarks, error_message: error }) =>
  Boolean(error && remarks?.endsWith(error));
