// The days of a batch, or the attempts of a day, on the page of a record.

import { AttemptTable } from "./attemptTable.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { formatNumber } from "./format.js";
import { t } from "./i18n.js";

const DAY_COLUMNS = [
  "day",
  "state",
  "attempt",
  "read",
  "loaded",
  "rejected",
  "size",
  "duration",
  "started",
  "run",
];
const ATTEMPT_COLUMNS = [...DAY_COLUMNS.slice(0, -1), "triggered-by", "run"];
const STATES = ["failed", "syncing", "pending", "success", "skipped"];
const dayKey = (day) => day.sync_date;
const attemptKey = (each) =>
  `${each.sync_date} ${each.batch_id} ${each.attempt} ${each.started_at}`;

/** For a batch: its days, one row each, and the superseded attempts. For a day: all its attempts. */
export class RecordDays {
  #state = "";
  #isBatch;
  #days = [];
  #superseded = [];
  #dagsterUrl = null;

  constructor(isBatch) {
    this.#isBatch = isBatch;
    this.table = isBatch
      ? new AttemptTable(DAY_COLUMNS, dayKey)
      : new AttemptTable(ATTEMPT_COLUMNS, attemptKey);
    this.supersededTable = new AttemptTable(ATTEMPT_COLUMNS, attemptKey);
    this.title = h("h2", {}, t(isBatch ? "days.title" : "attempts.title"));
    this.filter = h("div", { class: "segments", role: "group", "aria-label": t("filter.status") });
    this.summary = h("summary");
    this.superseded = h(
      "details",
      { class: "superseded", hidden: true, ontoggle: () => this.#showSuperseded() },
      this.summary,
      this.supersededTable.element,
    );
    this.element = h(
      "section",
      { class: "days" },
      h("div", { class: "head" }, this.title, this.filter),
      this.table.element,
      this.superseded,
    );
  }

  /** Shows `days`; `attempts` also contains the superseded attempts. */
  update(days, attempts, dagsterUrl) {
    this.#days = days;
    this.#dagsterUrl = dagsterUrl;
    this.#updateFilter(days);
    this.#show();
    if (!this.#isBatch) return;
    this.#superseded = attempts.filter((each) => each.superseded);
    this.#showSuperseded();
  }

  /** Scrolls to the row of a day and focuses it. */
  reveal(day) {
    this.#state = "";
    this.#show();
    this.table.reveal(day);
  }

  #updateFilter(days) {
    const counts = {};
    for (const { state } of days) counts[state] = (counts[state] ?? 0) + 1;
    const states = ["", ...STATES.filter((state) => counts[state])];
    if (!states.includes(this.#state)) this.#state = "";
    this.filter.hidden = states.length < 3;
    const buttons = [...this.filter.children];
    if (!buttons.length || buttons.map((each) => each.dataset.state).join() !== states.join()) {
      const focused = this.filter.contains(document.activeElement)
        ? document.activeElement.dataset.state
        : null;
      replace(
        this.filter,
        states.map((state) => this.#filterButton(state)),
      );
      if (focused !== null) this.filter.querySelector(`[data-state="${focused}"]`)?.focus();
    }
    states.forEach((state, n) => {
      const label = t(state ? `state.${state}` : "days.all");
      const count = formatNumber(state ? counts[state] : days.length);
      setText(this.filter.children[n], `${label} ${count}`);
    });
  }

  #filterButton(state) {
    const onclick = () => {
      this.#state = state;
      this.#show();
    };
    return h("button", { type: "button", "data-state": state, onclick });
  }

  #show() {
    for (const button of this.filter.children) {
      setAttribute(button, "aria-pressed", String(button.dataset.state === this.#state));
    }
    const shown = this.#days.filter(({ state }) => !this.#state || state === this.#state);
    this.table.update(shown, this.#dagsterUrl);
  }

  /** Draws the superseded attempts only when the user opens them. */
  #showSuperseded() {
    const n = this.#superseded.length;
    this.superseded.hidden = n === 0;
    setText(this.summary, n ? t("attempts.superseded", { n }) : "");
    if (this.superseded.open) this.supersededTable.update(this.#superseded, this.#dagsterUrl);
  }
}
