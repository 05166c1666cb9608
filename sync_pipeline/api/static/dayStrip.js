// The days of a dataset as a strip of bars: full height if synced, taller if failed, low if missing.

import { setAttribute, svg } from "./dom.js";

const HEIGHT = 20;
const BARS = {
  success: { y: 0, height: HEIGHT },
  empty: { y: 12, height: 8 },
  rejected: { y: 0, height: HEIGHT },
  resync_failed: { y: -3, height: HEIGHT + 3 },
  failed: { y: -5, height: HEIGHT + 5 },
  syncing: { y: 4, height: 16 },
  missing: { y: 17, height: 3 },
  outside: { y: 19, height: 1 },
};
const OVERLAP = 0.02; // hides the hairline gap between adjacent bars

export class DayStrip {
  #paths = {};

  constructor(days) {
    this.days = days;
    this.element = svg("svg", {
      class: "strip",
      viewBox: `0 0 ${days.length} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    for (const state of Object.keys(BARS)) {
      this.#paths[state] = svg("path", { class: state });
      this.element.append(this.#paths[state]);
    }
    this.draw();
  }

  /** Draws the current states of the days: one path per state, however many days there are. */
  draw() {
    const shapes = {};
    for (const { state, start, count } of groupByState(this.days)) {
      const { y, height } = BARS[state];
      const width = count + OVERLAP;
      shapes[state] = `${shapes[state] ?? ""}M${start} ${y}h${width}v${height}h${-width}z`;
    }
    for (const [state, path] of Object.entries(this.#paths)) {
      setAttribute(path, "d", shapes[state] ?? null);
    }
  }

  /** Returns the day at a horizontal offset in pixels from the left edge of the strip. */
  dayAt(offsetX) {
    const share = offsetX / this.element.getBoundingClientRect().width;
    const index = Math.floor(share * this.days.length);
    return this.days[Math.min(this.days.length - 1, Math.max(0, index))];
  }
}

/** Groups consecutive days of the same state, as `{state, start, count}`. */
function groupByState(days) {
  const groups = [];
  days.forEach(({ state }, start) => {
    const last = groups.at(-1);
    if (last?.state === state) last.count += 1;
    else groups.push({ state, start, count: 1 });
  });
  return groups;
}
