// The page of one record: how far it is, what it says, its days, every attempt.

import { Actions } from "./recordActions.js";
import { Behind } from "./recordDetails.js";
import { Bar, progressWords } from "./progressBar.js";
import { everySecond, paceWords } from "./clock.js";
import { DayMap } from "./dayMap.js";
import { DayTable } from "./recordDays.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { factsOf } from "./recordFacts.js";
import { fullDay, number, range } from "./format.js";
import { t } from "./i18n.js";
import { isOlder, latest } from "./recordCache.js";
import { StateMark } from "./states.js";

export class RecordPage {
  #app;
  #id;
  #root = null;
  #early = null; // records that changed while this one was first read
  #stopTicking = () => {};

  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    this.record = null;
    this.behind = new Behind(id, app.guarded, (found) => this.#take(found));
  }

  /** Loads and shows the record. Throws a Problem. */
  async show(root) {
    this.#root = root;
    const early = (this.#early = []);
    try {
      await this.behind.load();
    } finally {
      this.#early = null;
    }
    if (!this.record) return;
    this.#stopTicking = everySecond(() => this.#tick());
    this.onRecords(early); // what was read may be older
  }

  #build(root, record) {
    this.mark = new StateMark(record.status);
    this.actions = new Actions(this.#app);
    this.run = h("a", { class: "out", target: "_blank", rel: "noopener" }, t("action.dagster"));
    this.bar =
      record.kind === "batch" ? new Bar(t("progress.label", { what: record.dataset })) : null;
    this.words = h("p", { class: "words" });
    this.pace = h("p", { class: "second" });
    this.error = h("p", { class: "error block", lang: "en" });
    this.remarks = h("p", { class: "remarks", lang: "zh-CN" });
    this.facts = h("dl", { class: "facts" });
    this.daymap = record.kind === "batch" ? new DayMap((day) => this.days.reveal(day)) : null;
    this.days = new DayTable(record.kind === "batch");
    root.append(
      h("p", { class: "crumb" }, h("a", { href: "/sync-status" }, `← ${t("nav.records")}`)),
      this.#title(record),
      h(
        "section",
        { class: "progress", "aria-label": t("progress.title") },
        this.bar?.element,
        this.words,
        this.pace,
      ),
      this.error,
      this.remarks,
      this.facts,
      this.daymap?.element ?? "",
      this.days.element,
    );
  }

  #title(record) {
    const calendar = `/sync-status/calendar?dataset=${encodeURIComponent(record.dataset)}`;
    return h(
      "div",
      { class: "title" },
      h(
        "h1",
        { tabindex: "-1" },
        h("span", { class: "name" }, h("a", { href: calendar }, record.dataset)),
        " ",
        h("span", { class: "days" }, range(record.start_date, record.end_date)),
        record.kind === "batch" ? h("span", { class: "badge" }, t("badge.batch")) : null,
        record.kind === "day" ? h("small", { class: "second" }, fullDay(record.sync_date)) : null,
      ),
      h("div", { class: "right" }, this.mark.element, this.actions.element, this.run),
    );
  }

  #take({ record, days, attempts }) {
    if (!this.record) this.#build(this.#root, record);
    this.#update(latest(record));
    this.daymap?.update(days);
    const dagster = record.dagster_url ? record.dagster_url.split("/runs/")[0] : null;
    this.days.update(record.kind === "batch" ? days : attempts, attempts, dagster);
  }

  #update(record) {
    if (isOlder(record, this.record)) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.mark.update(record.status);
    this.actions.update(record);
    this.bar?.update(record);
    setText(this.words, this.bar ? progressWords(record) : dayWords(record));
    setText(this.error, record.error_message ?? "");
    this.error.hidden = !record.error_message;
    setText(this.remarks, record.remarks ?? "");
    setAttribute(this.run, "href", record.dagster_url ?? null);
    this.run.hidden = !record.dagster_url;
    replace(this.facts, factsOf(record));
    this.#tick();
    const percent =
      record.status === "syncing" && this.bar ? `▸ ${Math.floor(record.percent ?? 0)}% ` : "";
    document.title = `${percent}${record.dataset} ${range(record.start_date, record.end_date)} · ${t("app")}`;
  }

  #tick() {
    const { time, speed } = paceWords(this.record, this.receivedAt);
    const rows = t("rows", { n: number(this.record.total_records) });
    setText(
      this.pace,
      (this.bar ? [rows, speed, time] : [time]).filter(Boolean).join(t("separator")),
    );
  }

  onRecords(records) {
    this.#early?.push(...records);
    if (!this.record) return;
    const own = records.find((record) => record.id === this.#id);
    const days = records.filter((record) => this.#hasDay(record)).map((each) => each.sync_date);
    const ended = own && own.status !== this.record.status;
    if (own) this.#update(own);
    this.behind.tellDays(days);
    // Days that are skipped or withdrawn have no record of their own to be told of.
    if (ended || (own && !days.length)) this.behind.tellAll();
  }

  /** Whether a record is of a day of this batch: it is written as the day begins and ends. */
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
    if (this.record) await this.behind.load();
  }

  state() {
    return {};
  }

  leave() {
    this.behind.leave();
    this.#stopTicking();
  }
}

function dayWords(record) {
  const values = {
    read: number(record.total_records),
    loaded: number(record.success_count),
    rejected: number(record.failed_count),
  };
  return record.status === "success" ? t("day.rows", values) : "";
}
