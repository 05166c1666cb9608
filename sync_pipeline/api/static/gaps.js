// The ranges of missing or failed days of a dataset, each as a button that selects the range.

import { h, replace } from "./dom.js";
import { formatDayRange } from "./format.js";
import { t } from "./i18n.js";
import { stateIcon } from "./states.js";

const MAX_SHOWN = 12;

export class Gaps {
  #shown = "";

  constructor(onSelect) {
    this.onSelect = onSelect;
    this.element = h("div", { class: "gaps", hidden: true });
  }

  /** Shows these gaps, given as [first, last, state]; only the latest if there are too many. */
  update(found) {
    const wanted = found.map((gap) => gap.join()).join(" ");
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const focused = this.element.contains(document.activeElement)
      ? document.activeElement.dataset.first
      : null;
    const gaps = [...found].sort((a, b) => (a[0] < b[0] ? -1 : 1));
    const hidden = gaps.length - MAX_SHOWN;
    this.element.hidden = !gaps.length;
    replace(
      this.element,
      h("span", { class: "secondary" }, t("calendar.gaps")),
      gaps.slice(-MAX_SHOWN).map((gap) => this.#button(...gap)),
      hidden > 0 ? h("span", { class: "secondary" }, t("calendar.moreGaps", { n: hidden })) : null,
    );
    if (focused) this.element.querySelector(`[data-first="${focused}"]`)?.focus();
  }

  #button(first, last, state) {
    return h(
      "button",
      {
        type: "button",
        class: `gap ${state}`,
        "data-first": first,
        onclick: () => this.onSelect(first, last),
      },
      stateIcon(state),
      h("span", {}, formatDayRange(first, last)),
      h("span", { class: "visually-hidden" }, t(`state.${state}`)),
    );
  }
}
