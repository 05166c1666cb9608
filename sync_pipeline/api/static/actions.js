// Cancel and retry: asked, done, and said.

import { cancel, launch, newKey, retry } from "./api.js";
import { h, replace } from "./dom.js";
import { ask } from "./dialog.js";
import { range } from "./format.js";
import { t } from "./i18n.js";

/** A record in a few words: its dataset and days. */
export const nameOf = (record) => `${record.dataset} ${range(record.start_date, record.end_date)}`;

/** The buttons that a record allows now, kept in step with it. */
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
    const button = wanted && this.#button(wanted);
    replace(this.element, button || null);
    if (hadFocus && button) button.focus();
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
    try {
      const answer = await DOES[name](record);
      this.#app.say(t(`${name}.done`, values));
      this.#app.onRecords([answer.record]);
    } catch (problem) {
      this.#app.say(problem.message, "problem");
    } finally {
      this.#busy = false;
    }
  }
}

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
      newKey(),
    ),
};

function possible(record) {
  if (record.kind === "day") return record.status === "syncing" ? "" : "again";
  if (record.status === "syncing") return "cancel";
  return record.status === "failed" && record.batch_key !== null ? "retry" : "";
}
