// The number of days in each state, as a row of labels and as text.

import { h, setText } from "./dom.js";
import { t } from "./i18n.js";
import { DAY_STATES, stateIcon } from "./states.js";

const SHOWN_STATES = DAY_STATES.filter((state) => state !== "outside");

export class DayCounts {
  #labels = {};

  constructor() {
    this.element = h("span", { class: "counts" });
    for (const state of SHOWN_STATES) {
      const text = h("span");
      const label = h("span", { class: `state ${state}`, hidden: true }, stateIcon(state), text);
      this.#labels[state] = { label, text };
      this.element.append(label);
    }
  }

  /** Shows the counts that are not zero; returns them as one text. */
  update(counts) {
    for (const [state, { label, text }] of Object.entries(this.#labels)) {
      label.hidden = !counts[state];
      setText(text, counts[state] ? t(`count.${state}`, { n: counts[state] }) : "");
    }
    return formatCounts(counts);
  }
}

/** Formats counts of days as one text, such as "24 synced, 1 failed". */
export const formatCounts = (counts) =>
  SHOWN_STATES.filter((state) => counts[state])
    .map((state) => t(`count.${state}`, { n: counts[state] }))
    .join(t("separator"));

/** Returns the number of days in each state. */
export function countStates(days) {
  const counts = {};
  for (const { state } of days) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}
