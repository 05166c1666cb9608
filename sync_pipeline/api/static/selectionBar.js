// The form at the foot of the calendar: it follows the days that are selected, and they follow it.

import { countStates, countWords } from "./dayCounts.js";
import { h, setText } from "./dom.js";
import { daysBetween } from "./format.js";
import { t } from "./i18n.js";
import { Launch } from "./launchForm.js";

export class Dock {
  #selection;
  #daysOf;

  /** `daysOf` returns the days of a coverage that are selected now. */
  constructor(app, datasets, selection, daysOf) {
    this.#selection = selection;
    this.#daysOf = daysOf;
    this.launch = new Launch(app, datasets, {
      onChange: (request) => this.#onForm(request),
      onLaunched: () => selection.clear(),
    });
    this.said = h("p", { class: "selected" });
    const clear = h("button", { type: "button", class: "plain small" }, t("calendar.clear"));
    clear.addEventListener("click", () => selection.clear());
    this.element = h(
      "section",
      { class: "dock", hidden: true, "aria-label": t("launch.label") },
      h("div", { class: "head", role: "status" }, this.said, clear),
      this.launch.element,
    );
  }

  /** Takes in the datasets as they are now. */
  refresh(datasets) {
    this.launch.refresh(datasets);
  }

  /** Shows what is selected now. */
  update() {
    const { dataset, first, last, isEmpty } = this.#selection;
    this.element.hidden = isEmpty;
    if (isEmpty) return;
    const words = countWords(countStates(this.#daysOf()));
    setText(this.said, t("calendar.selected", { n: daysBetween(first, last), words }));
    if (!this.#selection.is(this.launch.request())) this.launch.set({ dataset, first, last });
  }

  #onForm(request) {
    if (!request || request.start_date > request.end_date || this.#selection.isEmpty) return;
    if (this.#selection.is(request)) return;
    this.#selection.set(request.dataset, request.start_date, request.end_date);
  }
}
