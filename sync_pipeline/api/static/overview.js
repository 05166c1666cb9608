// The overview of all datasets: a headline, and for each dataset its days as a strip and its running
// batches.

import { listRecords } from "./api.js";
import { Coverage } from "./coverage.js";
import { countStates, DayCounts } from "./dayCounts.js";
import { DayStrip } from "./dayStrip.js";
import { dayTooltip } from "./dayTooltip.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { formatDayRange } from "./format.js";
import { t } from "./i18n.js";
import { everySecond, paceTexts } from "./pace.js";
import { ProgressBar, progressText } from "./progressBar.js";
import { isOlder, latest } from "./recordCache.js";
import { hideTooltip, showTooltip } from "./tooltip.js";

const MAX_RUNNING_SHOWN = 50;

export class Overview {
  #datasets = new Map();
  #running = new Map();
  #left = false;
  #stopTicking;

  constructor() {
    this.headline = h("h1", { tabindex: "-1" }, t("headline.loading"));
    this.element = h("div", { class: "overview" });
    this.#stopTicking = everySecond(() => this.#running.forEach((batch) => batch.tick()));
  }

  destroy() {
    this.#left = true;
    this.#stopTicking();
    hideTooltip();
  }

  /** Loads the coverage of the datasets and the running batches. Throws a Problem. */
  async load(datasets) {
    const rows = datasets.map((each) => this.#datasets.get(each.name) ?? new DatasetRow(each));
    this.#datasets = new Map(rows.map((row) => [row.name, row]));
    const elements = rows.map((row) => row.element);
    if (elements.some((element, n) => element !== this.element.children[n])) {
      replace(this.element, elements);
    }
    while (this.element.children.length > elements.length) this.element.lastElementChild.remove();
    await Promise.all([this.#loadRunning(), ...rows.map((row) => row.load())]);
    this.update([]);
  }

  async #loadRunning() {
    const startedAt = performance.now();
    const { records } = await listRecords({
      kind: "batch",
      status: "syncing",
      page: 1,
      page_size: MAX_RUNNING_SHOWN,
    });
    const loadedIds = new Set(records.map((record) => record.id));
    for (const [id, batch] of this.#running) {
      // Keep batches that the stream added after the request started.
      if (!loadedIds.has(id) && batch.receivedAt < startedAt) this.#removeBatch(id);
    }
    this.update(records.map(latest));
  }

  /** Applies records that changed. */
  update(records) {
    for (const record of records) if (record.kind === "batch") this.#updateBatch(record);
    for (const row of this.#datasets.values()) row.update(records);
    this.#updateHeadline();
  }

  #updateBatch(record) {
    const batch = this.#running.get(record.id);
    if (record.status !== "syncing") {
      this.#removeBatch(record.id);
    } else if (batch) {
      batch.update(record);
    } else if (this.#datasets.has(record.dataset)) {
      const added = new RunningBatch(record);
      this.#running.set(record.id, added);
      this.#datasets.get(record.dataset).batches.append(added.element);
    }
  }

  #removeBatch(id) {
    this.#running.get(id)?.element.remove();
    this.#running.delete(id);
  }

  #updateHeadline() {
    if (this.#left || [...this.#datasets.values()].some((row) => !row.coverage)) return;
    const totals = { missing: 0, failed: 0 };
    for (const { counts } of this.#datasets.values()) {
      totals.missing += counts.missing ?? 0;
      totals.failed += (counts.failed ?? 0) + (counts.resync_failed ?? 0);
    }
    const running = this.#running.size;
    const values = { ...totals, running, datasets: this.#datasets.size };
    setText(this.headline, t("headline", values));
    const [batch] = this.#running.values();
    const percent = running === 1 ? `${Math.floor(batch.record.percent ?? 0)}% ` : "";
    document.title = (running ? `▸ ${percent}` : totals.failed ? "✕ " : "") + t("app");
  }
}

/** A dataset with its days and its running batches. */
class DatasetRow {
  coverage = null;
  counts = {};

  constructor({ name, description }) {
    this.name = name;
    const calendar = `/sync-status/calendar?dataset=${encodeURIComponent(name)}`;
    this.link = h("a", { class: "days", href: calendar, "aria-label": name });
    this.link.addEventListener("pointermove", (event) => this.#showTooltip(event));
    this.link.addEventListener("pointerleave", hideTooltip);
    this.axis = h("div", { class: "axis secondary" });
    this.dayCounts = new DayCounts();
    this.batches = h("div", { class: "running-batches" });
    this.element = h(
      "section",
      { class: "dataset-row", "aria-label": name },
      h("h2", {}, name, description ? h("span", { class: "secondary" }, description) : null),
      h("div", {}, this.link, this.axis),
      this.dayCounts.element,
      this.batches,
    );
  }

  /** Loads the days of the last year, in place. Throws a Problem. */
  async load() {
    this.coverage = await Coverage.load(this.name);
    this.strip = new DayStrip(this.coverage.days);
    replace(this.link, this.strip.element);
    const { from, to } = this.coverage;
    replace(this.axis, h("span", {}, from), h("span", {}, to));
    this.#updateCounts();
  }

  /** Applies records that changed. */
  update(records) {
    if (!this.coverage?.update(records).length) return;
    this.strip.draw();
    this.#updateCounts();
  }

  #updateCounts() {
    this.counts = countStates(this.coverage.days);
    const counts = this.dayCounts.update(this.counts);
    const label = t("strip.label", { dataset: this.name, counts });
    setAttribute(this.link, "aria-label", label);
  }

  #showTooltip(event) {
    if (event.pointerType === "touch" || !this.strip) return;
    const offsetX = event.clientX - this.link.getBoundingClientRect().left;
    showTooltip(this.link, dayTooltip(this.strip.dayAt(offsetX)), offsetX);
  }
}

/** A running batch with its progress. */
class RunningBatch {
  record = null;

  constructor(record) {
    this.progressBar = new ProgressBar(t("progress.label", { what: record.dataset }));
    this.progress = h("span", { class: "progress-text" });
    this.pace = h("span", { class: "pace" });
    this.element = h(
      "div",
      { class: "running-batch", "data-id": record.id },
      h(
        "a",
        { href: `/sync-status/${record.id}` },
        formatDayRange(record.start_date, record.end_date),
      ),
      this.progressBar.element,
      this.progress,
      this.pace,
    );
    this.update(record);
  }

  /** Shows the record; ignores it if it is older than the one shown. */
  update(record) {
    if (isOlder(record, this.record)) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.progressBar.update(record);
    setText(this.progress, progressText(record));
    this.tick();
  }

  /** Updates the texts that change with time. */
  tick() {
    const { time, speed } = paceTexts(this.record, this.receivedAt);
    setText(this.pace, [speed, time].filter(Boolean).join(t("separator")));
  }
}
