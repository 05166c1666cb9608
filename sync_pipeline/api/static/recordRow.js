// One record as a row of the list, kept in step with the record.

import { Actions } from "./recordActions.js";
import { Bar, progressWords } from "./progressBar.js";
import { paceWords } from "./clock.js";
import { h, setAttribute, setText } from "./dom.js";
import { fullMoment, moment, number, range, weekday } from "./format.js";
import { t } from "./i18n.js";
import { isOlder } from "./recordCache.js";
import { StateMark } from "./states.js";

const cell = (name, ...children) => h("div", { class: name, role: "cell" }, children);

export class Row {
  constructor(record, app) {
    this.record = null;
    this.mark = new StateMark(record.status);
    this.bar =
      record.kind === "batch" ? new Bar(t("progress.label", { what: record.dataset })) : null;
    this.actions = new Actions(app);
    this.words = h("span", { class: "words" });
    this.rows = h("span", { class: "amount" });
    this.speed = h("span", { class: "second" });
    this.time = h("span");
    this.when = h("time");
    this.who = h("span", { class: "second" });
    this.note = h("span", { class: "remarks", lang: "zh-CN" });
    this.error = h("span", { class: "error", lang: "en" });
    this.run = h("a", { class: "out", target: "_blank", rel: "noopener" }, t("action.dagster"));
    this.element = this.#build(record);
    this.update(record);
  }

  #build(record) {
    const address = `/sync-status/${record.id}`;
    return h(
      "div",
      { class: `row ${record.kind}`, role: "row", "data-id": record.id },
      cell("is", this.mark.element),
      cell(
        "what",
        h(
          "a",
          { href: address },
          h("span", { class: "name" }, record.dataset),
          " ",
          this.#days(record),
        ),
        record.kind === "batch" ? h("span", { class: "badge" }, t("badge.batch")) : null,
      ),
      cell("progress", this.bar?.element ?? null, this.words),
      cell("amounts", this.rows, this.speed),
      cell("pace", this.time),
      cell("began", this.when, this.who),
      cell("does", this.actions.element, this.run),
      cell("note", this.error, this.note),
    );
  }

  #days(record) {
    const days = range(record.start_date, record.end_date);
    if (record.kind === "batch") return h("span", { class: "days" }, days);
    return h("span", { class: "days" }, days, h("span", { class: "second" }, ` ${weekday(days)}`));
  }

  update(record) {
    if (isOlder(record, this.record)) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.mark.update(record.status);
    this.bar?.update(record);
    setText(this.words, this.bar ? progressWords(record) : dayWords(record));
    setText(this.rows, t("rows", { n: number(record.total_records) }));
    setText(this.when, moment(record.start_time));
    setAttribute(this.when, "datetime", record.start_time);
    setAttribute(this.when, "title", fullMoment(record.start_time));
    setText(this.who, record.triggered_by ?? "");
    setAttribute(this.who, "title", record.triggered_by);
    setText(this.note, repeatsError(record) ? "" : (record.remarks ?? ""));
    setText(this.error, record.error_message ?? "");
    setAttribute(this.error, "title", record.error_message || null);
    setAttribute(this.run, "href", record.dagster_url ?? null);
    setAttribute(this.run, "aria-label", t("action.dagsterOf", { what: record.dataset }));
    this.run.hidden = !record.dagster_url;
    this.actions.update(record);
    this.tick();
  }

  /** Brings up to date what changes with the time alone. */
  tick() {
    const { time, speed } = paceWords(this.record, this.receivedAt);
    setText(this.time, time);
    setText(this.speed, this.bar ? speed : "");
  }
}

function dayWords(record) {
  if (record.status !== "success") return "";
  const loaded = t("day.loaded", { n: number(record.success_count) });
  if (!record.failed_count) return loaded;
  return loaded + t("separator") + t("day.rejected", { n: number(record.failed_count) });
}

/** Whether the remarks are the error once more, as a failed day's are. */
const repeatsError = ({ remarks, error_message: error }) => Boolean(error && remarks?.endsWith(error));
