// Cancel and retry: asked, done, and said.

import { cancel, launch, newKey, retry } from "./api.js";
import { h, replace } from "./dom.js";
import { ask } from "./dialog.js";
import { range } from "./format.js";
import { t } from "./i18n.js";
import { latest } from "./recordCache.js";

const STARTS_WITHIN = 60_000; // milliseconds, after which it may be asked for again
/** What was asked of records and has not begun yet: by id, the change that the record was at. */
const starting = new Map();
/** The keys of launches that got no answer, by the day's record: sent again they launch no second. */
const keys = new Map();

/** A record in a few words: its dataset and days. */
export const nameOf = (record) => `${record.dataset} ${range(record.start_date, record.end_date)}`;

/** The button that a record allows now, kept in step with it. */
export class Actions {
  #app;
  #shown = "";
  #record = null;
  #busy = false;

  constructor(app) {
    this.#app = app;
    this.element = h("div", { class: "actions" });
  }

  update(record) {
    this.#record = record;
    const wanted = this.#app.mayLaunch() ? possible(record) : "";
    if (wanted === this.#shown) return;
    const hadFocus = this.element.contains(document.activeElement);
    this.#shown = wanted;
    const shown = WORDS.includes(wanted) ? word(wanted) : wanted ? this.#button(wanted) : null;
    replace(this.element, shown);
    if (hadFocus) shown?.focus();
  }

  #button(name) {
    const label = t(`action.${name}`);
    const about = `${label}: ${nameOf(this.#record)}`;
    return h(
      "button",
      {
        class: `small ${name}`,
        type: "button",
        "aria-label": about,
        onclick: () => this.#do(name),
      },
      label,
    );
  }

  async #do(name) {
    const record = this.#record;
    const values = {
      what: nameOf(record),
      done: record.done_days,
      n: name === "cancel" ? record.total_days - record.done_days : record.failed_count,
    };
    if (
      this.#busy ||
      !(await ask({
        title: t(`${name}.title`, values),
        text: t(`${name}.text`, values),
        yes: t(`${name}.yes`, values),
        no: t(`${name}.no`),
        danger: name === "cancel",
      }))
    )
      return;
    this.#busy = true;
    if (name !== "cancel") this.#start(record);
    try {
      const answer = await DOES[name](record);
      const ends = name === "cancel" && answer.record.status === "syncing";
      this.#app.say(t(ends ? "cancel.begun" : `${name}.done`, values));
      this.#answered(record, answer.record);
      this.#app.onRecords([answer.record]);
    } catch (problem) {
      starting.delete(record.id);
      this.#app.sayProblem(problem);
    } finally {
      this.#busy = false;
      this.update(this.#record);
    }
  }

  #answered(record, now) {
    keys.delete(record.id);
    if (now.id !== record.id || !starting.has(now.id)) return;
    if (now.status === "syncing") starting.delete(now.id);
    else starting.set(now.id, now.change);
  }

  /** Shows the record as starting until it changes: a run takes seconds to begin. */
  #start(record) {
    starting.set(record.id, record.change);
    setTimeout(() => {
      if (starting.delete(record.id)) this.#app.onRecords([latest(record)]);
    }, STARTS_WITHIN);
    this.update(record);
  }
}

const WORDS = ["starting", "cancelling"];
const word = (name) => h("span", { class: "second", tabindex: "-1" }, t(`action.${name}`));

const DOES = {
  cancel: (record) => cancel(record.id),
  retry: (record) => retry(record.id),
  again: (record) =>
    launch(
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
  if (!keys.has(record.id)) keys.set(record.id, newKey());
  return keys.get(record.id);
}

function possible(record) {
  if (starting.get(record.id) === record.change) return "starting";
  if (record.kind === "day") return record.status === "syncing" ? "" : "again";
  if (record.status === "syncing") return record.cancelled_by ? "cancelling" : "cancel";
  return record.status === "failed" && record.batch_key !== null ? "retry" : "";
}
