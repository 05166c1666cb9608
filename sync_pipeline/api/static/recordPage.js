// The page of one record: its progress, messages, facts, days and attempts.

import { h, replace, setAttribute, setText } from "./dom.js";
import { DayMap } from "./dayMap.js";
import { formatDayRange, formatFullDay, formatNumber } from "./format.js";
import { t } from "./i18n.js";
import { everySecond, paceTexts } from "./pace.js";
import { ProgressBar, progressText } from "./progressBar.js";
import { RecordActions } from "./recordActions.js";
import { isOlder, latest } from "./recordCache.js";
import { RecordDays } from "./recordDays.js";
import { RecordDetails } from "./recordDetails.js";
import { recordFacts } from "./recordFacts.js";
import { remainingRows } from "./remainingRows.js";
import { StateLabel, dayState } from "./states.js";

export class RecordPage {
  #app;
  #id;
  #root = null;
  #changedWhileLoading = null;
  #stopTicking = () => {};

  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    this.record = null;
    this.details = new RecordDetails(id, app.catchProblem, (found) => this.#show(found));
  }

  /** Loads and shows the record. Throws a Problem. */
  async show(root) {
    this.#root = root;
    const changed = (this.#changedWhileLoading = []);
    try {
      await this.details.load();
    } finally {
      this.#changedWhileLoading = null;
    }
    if (!this.record) return;
    this.#stopTicking = everySecond(() => this.#tick());
    this.onRecords(changed); // the response may be older than these
  }

  #build(root, record) {
    const isBatch = record.kind === "batch";
    this.state = new StateLabel(record.status);
    this.actions = new RecordActions(this.#app);
    this.dagsterLink = h(
      "a",
      { class: "external", target: "_blank", rel: "noopener" },
      t("action.dagster"),
    );
    this.progressBar = isBatch
      ? new ProgressBar(t("progress.label", { what: record.dataset }))
      : null;
    this.progress = h("p", { class: "progress-text" });
    this.pace = h("p", { class: "secondary" });
    this.error = h("p", { class: "error block", lang: "en" });
    this.remarks = h("p", { class: "remarks", lang: "zh-CN" });
    this.facts = h("dl", { class: "facts" });
    this.dayMap = isBatch ? new DayMap((day) => this.days.reveal(day)) : null;
    this.days = new RecordDays(isBatch);
    root.append(
      h("p", { class: "breadcrumb" }, h("a", { href: "/sync-status" }, `← ${t("nav.records")}`)),
      this.#title(record),
      h(
        "section",
        { class: "progress", "aria-label": t("progress.title") },
        this.progressBar?.element,
        this.progress,
        this.pace,
      ),
      this.error,
      this.remarks,
      this.facts,
      this.dayMap?.element ?? "",
      this.days.element,
    );
  }

  #title(record) {
    const calendar = `/sync-status/calendar?dataset=${encodeURIComponent(record.dataset)}`;
    const days = formatDayRange(record.start_date, record.end_date);
    return h(
      "div",
      { class: "title" },
      h(
        "h1",
        { tabindex: "-1" },
        h("span", { class: "name" }, h("a", { href: calendar }, record.dataset)),
        " ",
        h("span", { class: "days" }, days),
        record.kind === "batch" ? h("span", { class: "badge" }, t("badge.batch")) : null,
        record.kind === "day"
          ? h("small", { class: "secondary" }, formatFullDay(record.sync_date))
          : null,
      ),
      h("div", { class: "right" }, this.state.element, this.actions.element, this.dagsterLink),
    );
  }

  #show({ record, days, attempts }) {
    if (!this.record) this.#build(this.#root, record);
    this.#update(latest(record));
    this.dayMap?.update(days);
    const dagsterUrl = record.dagster_url ? record.dagster_url.split("/runs/")[0] : null;
    this.days.update(record.kind === "batch" ? days : attempts, attempts, dagsterUrl);
  }

  #update(record) {
    if (isOlder(record, this.record)) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.state.update(record.status);
    this.actions.update(record);
    this.progressBar?.update(record);
    setText(this.progress, this.progressBar ? progressText(record) : dayRowCounts(record));
    setText(this.error, record.error_message ?? "");
    this.error.hidden = !record.error_message;
    setText(this.remarks, record.remarks ?? "");
    setAttribute(this.dagsterLink, "href", record.dagster_url ?? null);
    this.dagsterLink.hidden = !record.dagster_url;
    replace(this.facts, recordFacts(record));
    this.#tick();
    const isRunningBatch = record.status === "syncing" && this.progressBar;
    const percent = isRunningBatch ? `▸ ${Math.floor(record.percent ?? 0)}% ` : "";
    const days = formatDayRange(record.start_date, record.end_date);
    document.title = `${percent}${record.dataset} ${days} · ${t("app")}`;
  }

  #tick() {
    const { time, speed } = paceTexts(this.record, this.receivedAt);
    const rows = t("rows", { n: formatNumber(this.record.total_records) });
    const texts = this.progressBar ? [rows, speed, time] : [time];
    setText(this.pace, texts.filter(Boolean).join(t("separator")));
  }

  /** Applies changed records: this record itself, and the days of this batch. */
  onRecords(records) {
    this.#changedWhileLoading?.push(...records);
    if (!this.record) return;
    const own = records.find((record) => record.id === this.#id);
    const days = records.filter((record) => this.#hasDay(record)).map((each) => each.sync_date);
    const hasEnded = own && own.status !== this.record.status;
    if (own) this.#update(own);
    this.details.refreshDays(days);
    // Skipped days, and days that are marked as not run, have no record that would announce them.
    if (hasEnded || (own && !days.length)) this.details.refreshAll();
  }

  /** Whether a record belongs to a day of this batch; it is written when the day starts and ends. */
  #hasDay({ kind, dataset, sync_date: day }) {
    const batch = this.record;
    return (
      kind === "day" &&
      batch.kind === "batch" &&
      dataset === batch.dataset &&
      day >= batch.start_date &&
      day <= batch.end_date
    );
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    if (this.record) await this.details.load();
  }

  state() {
    return {};
  }

  leave() {
    this.details.leave();
    this.#stopTicking();
  }
}

function dayRowCounts(record) {
  if (dayState(record) === "resync_failed") return remainingRows(record);
  const values = {
    read: formatNumber(record.total_records),
    loaded: formatNumber(record.success_count),
    rejected: formatNumber(record.failed_count),
  };
  return record.status === "success" ? t("day.rows", values) : "";
}
