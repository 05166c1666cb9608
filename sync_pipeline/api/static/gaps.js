// The stretches of days of a dataset that are missing or failed, each a button that selects it.

import { h, replace } from "./dom.js";
import { range } from "./format.js";
import { t } from "./i18n.js";
import { glyph } from "./states.js";

const MOST = 12;

export class Gaps {
  #shown = "";

  constructor(onPick) {
    this.onPick = onPick;
    this.element = h("div", { class: "gaps", hidden: true });
  }

  /** Shows these, as [first, last, state], the latest of them if there are too many. */
  update(found) {
    const wanted = found.map((gap) => gap.join()).join(" ");
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const focused = this.element.contains(document.activeElement)
      ? document.activeElement.dataset.first
      : null;
    const gaps = [...found].sort((a, b) => (a[0] < b[0] ? -1 : 1));
    const rest = gaps.length - MOST;
    this.element.hidden = !gaps.length;
    replace(
      this.element,
      h("span", { class: "second" }, t("calendar.gaps")),
      gaps.slice(-MOST).map((gap) => this.#button(...gap)),
      rest > 0 ? h("span", { class: "second" }, t("calendar.moreGaps", { n: rest })) : null,
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
        onclick: () => this.onPick(first, last),
      },
      glyph(state),
      h("span", {}, range(first, last)),
      h("span", { class: "unseen" }, t(`state.${state}`)),
    );
  }
}
