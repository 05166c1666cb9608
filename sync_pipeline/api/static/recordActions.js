// The button of a record that cancels, retries or syncs it again, after a confirmation.

import { cancelBatch, launchBatch, newIdempotencyKey, retryBatch } from "./api.js";
import { confirm } from "./confirmDialog.js";
import { h, replace } from "./dom.js";
import { formatDayRange } from "./format.js";
import { t } from "./i18n.js";
import { latest } from "./recordCache.js";

const START_TIMEOUT = 60_000; // milliseconds until an action that had no effect is offered again
/** Records whose action was requested but has not started: their id and `change` at that time. */
const starting = new Map();
/** The idempotency keys of launches without a response, by record id, reused on the next click. */
const keys = new Map();

/** Returns the short name of a record: its dataset and days. */
export const recordName = (record) =>
  `${record.dataset} ${formatDayRange(record.start_date, record.end_date)}`;

/** The button for the action that a record allows now, updated with the record. */
export class RecordActions {
  #app;
  #shown = "";
  #record = null;
  #busy = false;

  constructor(app) {
    this.#app = app;
    this.element = h("div", { class: "record-actions" });
  }

  update(record) {
    this.#record = record;
    const wanted = this.#app.canLaunch() ? availableAction(record) : "";
    if (wanted === this.#shown) return;
    const hadFocus = this.element.contains(document.activeElement);
    this.#shown = wanted;
    const shown = !wanted
      ? null
      : PROGRESS_TEXTS.includes(wanted)
        ? progressText(wanted)
        : this.#button(wanted);
    replace(this.element, shown);
    if (hadFocus) shown?.focus();
  }

  #button(name) {
    const label = t(`action.${name}`);
    return h(
      "button",
      {
        class: `small ${name}`,
        type: "button",
        "aria-label": `${label}: ${recordName(this.#record)}`,
        onclick: () => this.#run(name),
      },
      label,
    );
  }

  async #run(name) {
    const record = this.#record;
    const values = {
      what: recordName(record),
      done: record.done_days,
      n: name === "cancel" ? record.total_days - record.done_days : record.failed_count,
    };
    if (
      this.#busy ||
      !(await confirm({
        title: t(`${name}.title`, values),
        text: t(`${name}.text`, values),
        yes: t(`${name}.yes`, values),
        no: t(`${name}.no`),
        danger: name === "cancel",
      }))
    )
      return;
    this.#busy = true;
    if (name !== "cancel") this.#markStarting(record);
    try {
      const response = await ACTIONS[name](record);
      const isCancelling = name === "cancel" && response.record.status === "syncing";
      this.#app.notify(t(isCancelling ? "cancel.started" : `${name}.done`, values));
      this.#onResponse(record, response.record);
      this.#app.onRecords([response.record]);
    } catch (problem) {
      starting.delete(record.id);
      this.#app.notifyProblem(problem);
    } finally {
      this.#busy = false;
      this.update(this.#record);
    }
  }

  #onResponse(record, updated) {
    keys.delete(record.id);
    if (updated.id !== record.id || !starting.has(updated.id)) return;
    if (updated.status === "syncing") starting.delete(updated.id);
    else starting.set(updated.id, updated.change);
  }

  /** Shows the record as starting until it changes, because a run takes seconds to start. */
  #markStarting(record) {
    starting.set(record.id, record.change);
    setTimeout(() => {
      if (starting.delete(record.id)) this.#app.onRecords([latest(record)]);
    }, START_TIMEOUT);
    this.update(record);
  }
}

const PROGRESS_TEXTS = ["starting", "cancelling"];
const progressText = (name) =>
  h("span", { class: "secondary", tabindex: "-1" }, t(`action.${name}`));

const ACTIONS = {
  cancel: (record) => cancelBatch(record.id),
  retry: (record) => retryBatch(record.id),
  resync: (record) =>
    launchBatch(
      {
        dataset: record.dataset,
        start_date: record.sync_date,
        end_date: record.sync_date,
        already_synced: "resync",
      },
      keyOf(record),
    ),
};

function keyOf(record) {
  if (!keys.has(record.id)) keys.set(record.id, newIdempotencyKey());
  return keys.get(record.id);
}

function availableAction(record) {
  if (starting.get(record.id) === record.change) return "starting";
  if (record.kind === "day") return record.status === "syncing" ? "" : "resync";
  if (record.status === "syncing") return record.cancelled_by ? "cancelling" : "cancel";
  return record.status === "failed" && record.batch_key !== null ? "retry" : "";
}
