// The bar at the bottom of the calendar with the launch form. The form and the selected days follow
// each other.

import { countStates, formatCounts } from "./dayCounts.js";
import { h, setText } from "./dom.js";
import { countDays } from "./format.js";
import { t } from "./i18n.js";
import { LaunchForm } from "./launchForm.js";

export class SelectionBar {
  #selection;
  #getSelectedDays;

  /** `getSelectedDays` returns the selected days of a coverage. */
  constructor(app, datasets, selection, getSelectedDays) {
    this.#selection = selection;
    this.#getSelectedDays = getSelectedDays;
    this.form = new LaunchForm(app, datasets, {
      onChange: (request) => this.#onFormChange(request),
      onLaunched: () => selection.clear(),
    });
    this.summary = h("p", { class: "selected" });
    const clear = h("button", { type: "button", class: "plain small" }, t("calendar.clear"));
    clear.addEventListener("click", () => selection.clear());
    this.element = h(
      "section",
      { class: "selection-bar", hidden: true, "aria-label": t("launch.label") },
      h("div", { class: "head", role: "status" }, this.summary, clear),
      this.form.element,
    );
  }

  /** Updates the datasets. */
  refresh(datasets) {
    this.form.refresh(datasets);
  }

  /** Shows the current selection. */
  update() {
    const { dataset, first, last, isEmpty } = this.#selection;
    this.element.hidden = isEmpty;
    if (isEmpty) return;
    const counts = formatCounts(countStates(this.#getSelectedDays()));
    setText(this.summary, t("calendar.selected", { n: countDays(first, last), counts }));
    if (!this.#selection.equals(this.form.request())) this.form.set({ dataset, first, last });
  }

  #onFormChange(request) {
    if (!request || request.start_date > request.end_date || this.#selection.isEmpty) return;
    if (this.#selection.equals(request)) return;
    this.#selection.set(request.dataset, request.start_date, request.end_date);
  }
}
