// The page of one record: how far it is, what it says, its days, every attempt.

import { Actions } from "./actions.js";
import { one } from "./api.js";
import { Bar, progressWords } from "./bar.js";
import { everySecond, paceWords } from "./clock.js";
import { DayMap } from "./daymap.js";
import { DayTable } from "./days.js";
import { h, replace, setAttribute, setText, throttled } from "./dom.js";
import { factsOf } from "./facts.js";
import { fullDay, number, range } from "./format.js";
import { t } from "./i18n.js";
import { latest } from "./latest.js";
import { StateMark } from "./states.js";

const RELOAD = 1000; // milliseconds, at most this often while days come in

export class RecordPage {
  #app;
  #id;
  #reload;
  #stopTicking = () => {};
  #left = false;

  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    this.record = null;
    this.#reload = throttled(() => this.#app.guarded(() => this.reload()), RELOAD);
  }

  /** Loads and shows the record. Throws a Problem. */
  async show(root) {
    const found = await one(this.#id);
    if (this.#left) return;
    this.#build(root, found.record);
    this.#take(found);
    this.#stopTicking = everySecond(() => this.#tick());
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
    this.#update(latest(record));
    this.daymap?.update(days);
    const dagster = record.dagster_url ? record.dagster_url.split("/runs/")[0] : null;
    this.days.update(record.kind === "batch" ? days : attempts, attempts, dagster);
  }

  #update(record) {
    if (this.record && record.change < this.record.change) return;
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
    if (!this.record) return;
    const own = records.find((record) => record.id === this.#id);
    if (!own) return;
    this.#update(own);
    this.#reload();
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    if (this.record) this.#take(await one(this.#id));
  }

  state() {
    return {};
  }

  leave() {
    this.#left = true;
    this.#reload.cancel();
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
