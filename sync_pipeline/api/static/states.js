// The states of days and batches: what they are called, and a shape for each, so that none is told
// by its colour alone.

import { h, setText, svg } from "./dom.js";
import { t } from "./i18n.js";

/** States of a day in a coverage, in the order of a legend. */
export const DAY_STATES = [
  "success",
  "empty",
  "rejected",
  "failed",
  "missing",
  "syncing",
  "outside",
];

const SHAPES = {
  success: [["path", { d: "M3.2 8.6 6.6 12 13 4.6", class: "stroke" }]],
  empty: [
    ["circle", { cx: 8, cy: 8, r: 4.6, class: "stroke" }],
    ["path", { d: "M4 12 12 4", class: "stroke" }],
  ],
  rejected: [
    ["path", { d: "M8 2.4 14.2 13.4H1.8Z", class: "stroke" }],
    ["path", { d: "M8 6.6v3.2", class: "stroke" }],
  ],
  failed: [["path", { d: "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8", class: "stroke heavy" }]],
  missing: [["rect", { x: 3, y: 3, width: 10, height: 10, class: "stroke dashed" }]],
  syncing: [
    ["circle", { cx: 8, cy: 8, r: 5.2, class: "stroke faint" }],
    ["path", { d: "M8 2.8a5.2 5.2 0 0 1 5.2 5.2", class: "stroke turning" }],
  ],
  pending: [["circle", { cx: 8, cy: 8, r: 2, class: "solid" }]],
  skipped: [["path", { d: "M3.5 4 7.5 8l-4 4M8.5 4l4 4-4 4", class: "stroke" }]],
  outside: [["circle", { cx: 8, cy: 8, r: 1.2, class: "solid" }]],
};

/** The shape of a state. It says nothing to a screen reader: the word beside it does. */
export function glyph(state) {
  const parts = SHAPES[state].map(([tag, properties]) => svg(tag, properties));
  return svg(
    "svg",
    { class: `glyph ${state}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    parts,
  );
}

/** A state's shape and word, which can be changed to those of another state. */
export class StateMark {
  #state = null;
  #word = h("span");

  constructor(state) {
    this.element = h("span", { class: "state" }, this.#word);
    this.update(state);
  }

  update(state) {
    if (state !== this.#state) {
      this.element.querySelector("svg")?.remove();
      this.element.prepend(glyph(state));
      this.element.className = `state ${state}`;
      this.#state = state;
    }
    setText(this.#word, t(`state.${state}`));
  }
}

/** What the record of a day says of it in a coverage. */
export function dayState(record) {
  if (record.status !== "success") return record.status;
  if (record.failed_count > 0) return "rejected";
  return record.total_records === 0 ? "empty" : "success";
}
