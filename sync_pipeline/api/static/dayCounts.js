// How many days there are of each state, in words, kept in step with the days.

import { h, setText } from "./dom.js";
import { t } from "./i18n.js";
import { DAY_STATES, glyph } from "./states.js";

const SHOWN = DAY_STATES.filter((state) => state !== "outside");

export class Counts {
  #words = {};

  constructor() {
    this.element = h("span", { class: "counts" });
    for (const state of SHOWN) {
      const word = h("span");
      const entry = h("span", { class: `state ${state}`, hidden: true }, glyph(state), word);
      this.#words[state] = { entry, word };
      this.element.append(entry);
    }
  }

  /** Shows these counts, those that are not zero; returns them as one text. */
  update(counts) {
    for (const [state, { entry, word }] of Object.entries(this.#words)) {
      entry.hidden = !counts[state];
      setText(word, counts[state] ? t(`count.${state}`, { n: counts[state] }) : "");
    }
    return countWords(counts);
  }
}

/** Counts of days as one text, such as "24 in, 1 failed". */
export const countWords = (counts) =>
  SHOWN.filter((state) => counts[state])
    .map((state) => t(`count.${state}`, { n: counts[state] }))
    .join(t("separator"));

/** Counts how many days there are of each state. */
export function countStates(days) {
  const counts = {};
  for (const { state } of days) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}
