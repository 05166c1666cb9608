// The table of a record's days, and of earlier attempts at them.

import { h, replace, setAttribute, setText } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";
import { Lines } from "./attemptTable.js";

const COLUMNS = ["day", "state", "try", "read", "loaded", "rejected", "bytes", "took", "at", "run"];
const OF_ATTEMPTS = [...COLUMNS.slice(0, -1), "by", "run"];
const STATES = ["failed", "syncing", "pending", "success", "skipped"];
const dayOf = (day) => day.sync_date;
const attemptOf = (each) => `${each.sync_date} ${each.batch_id} ${each.attempt} ${each.started_at}`;

/** The days of a batch, one line each; or, of a day's record, its attempts. */
export class DayTable {
  #state = "";
  #ofBatch;
  #days = [];
  #superseded = [];
  #dagster = null;

  constructor(ofBatch) {
    this.#ofBatch = ofBatch;
    this.lines = ofBatch ? new Lines(COLUMNS, dayOf) : new Lines(OF_ATTEMPTS, attemptOf);
    this.earlierLines = new Lines(OF_ATTEMPTS, attemptOf);
    this.title = h("h2", {}, t(ofBatch ? "days.title" : "attempts.title"));
    this.filter = h("div", { class: "segments", role: "group", "aria-label": t("filter.status") });
    this.summary = h("summary");
    this.earlier = h(
      "details",
      { class: "earlier", hidden: true, ontoggle: () => this.#showEarlier() },
      this.summary,
      this.earlierLines.element,
    );
    this.element = h(
      "section",
      { class: "days" },
      h("div", { class: "head" }, this.title, this.filter),
      this.lines.element,
      this.earlier,
    );
  }

  /** Shows these days; `attempts` are all of them, also those that others stand in place of. */
  update(days, attempts, dagster) {
    this.#days = days;
    this.#dagster = dagster;
    this.#choices(days);
    this.#show();
    if (!this.#ofBatch) return;
    this.#superseded = attempts.filter((each) => each.superseded);
    this.#showEarlier();
  }

  /** Brings the line of a day into view, and marks it. */
  reveal(day) {
    this.#state = "";
    this.#show();
    this.lines.reveal(day);
  }

  #choices(days) {
    const counts = {};
    for (const { state } of days) counts[state] = (counts[state] ?? 0) + 1;
    const wanted = ["", ...STATES.filter((state) => counts[state])];
    if (!wanted.includes(this.#state)) this.#state = "";
    this.filter.hidden = wanted.length < 3;
    const texts = wanted.map((state) => [
      state,
      t(state ? `state.${state}` : "days.all"),
      state ? counts[state] : days.length,
    ]);
    const buttons = [...this.filter.children];
    if (!buttons.length || buttons.map((each) => each.dataset.state).join() !== wanted.join()) {
      const focused = this.filter.contains(document.activeElement)
        ? document.activeElement.dataset.state
        : null;
      replace(
        this.filter,
        texts.map(([state]) => this.#choice(state)),
      );
      if (focused !== null) this.filter.querySelector(`[data-state="${focused}"]`)?.focus();
    }
    texts.forEach(([, text, count], n) =>
      setText(this.filter.children[n], `${text} ${number(count)}`),
    );
  }

  #choice(state) {
    const choose = () => {
      this.#state = state;
      this.#show();
    };
    return h("button", { type: "button", "data-state": state, onclick: choose });
  }

  #show() {
    for (const button of this.filter.children) {
      setAttribute(button, "aria-pressed", String(button.dataset.state === this.#state));
    }
    const chosen = this.#days.filter(({ state }) => !this.#state || state === this.#state);
    this.lines.update(chosen, this.#dagster);
  }

  /** Draws the earlier attempts only once somebody looks at them. */
  #showEarlier() {
    const n = this.#superseded.length;
    this.earlier.hidden = n === 0;
    setText(this.summary, n ? t("attempts.earlier", { n }) : "");
    if (this.earlier.open) this.earlierLines.update(this.#superseded, this.#dagster);
  }
}
