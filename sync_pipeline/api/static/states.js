// The states of days and batches, with a label and an icon for each, so that they never differ
// by color alone.

import { h, setText, svg } from "./dom.js";
import { t } from "./i18n.js";

/** The states of a day in a coverage, in the order of the legend. */
export const DAY_STATES = [
  "success",
  "empty",
  "rejected",
  "resync_failed",
  "failed",
  "missing",
  "syncing",
  "outside",
];

const ICONS = {
  success: [["path", { d: "M3.2 8.6 6.6 12 13 4.6", class: "stroke" }]],
  empty: [
    ["circle", { cx: 8, cy: 8, r: 4.6, class: "stroke" }],
    ["path", { d: "M4 12 12 4", class: "stroke" }],
  ],
  rejected: [
    ["path", { d: "M8 2.4 14.2 13.4H1.8Z", class: "stroke" }],
    ["path", { d: "M8 6.6v3.2", class: "stroke" }],
  ],
  resync_failed: [
    ["path", { d: "M1.6 7.6 4.6 10.8 10 4.4", class: "stroke" }],
    ["path", { d: "M9.6 9.6l4.4 4.4M14 9.6l-4.4 4.4", class: "stroke" }],
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

/** Returns the icon of a state. Hidden from screen readers, which read the label next to it. */
export function stateIcon(state) {
  const parts = ICONS[state].map(([tag, properties]) => svg(tag, properties));
  return svg(
    "svg",
    { class: `icon ${state}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    parts,
  );
}

/** The icon and label of a state. */
export class StateLabel {
  #state = null;
  #label = h("span");

  constructor(state) {
    this.element = h("span", { class: "state" }, this.#label);
    this.update(state);
  }

  update(state) {
    if (state !== this.#state) {
      this.element.querySelector("svg")?.remove();
      this.element.prepend(stateIcon(state));
      this.element.className = `state ${state}`;
      this.#state = state;
    }
    setText(this.#label, t(`state.${state}`));
  }
}

/** Returns the coverage state of a day from its record. */
export function dayState(record) {
  if (record.status === "failed" && record.standing_since) return "resync_failed";
  if (record.status !== "success") return record.status;
  if (record.failed_count > 0) return "rejected";
  return record.total_records === 0 ? "empty" : "success";
}
