// A dataset's days as one strip, a bar for each: full where the day is in, sticking out
// where it failed, a low one where it is missing.

import { setAttribute, svg } from "./dom.js";

const HEIGHT = 20;
const MARKS = {
  success: { y: 0, height: HEIGHT },
  empty: { y: 12, height: 8 },
  rejected: { y: 0, height: HEIGHT },
  failed: { y: -5, height: HEIGHT + 5 },
  syncing: { y: 4, height: 16 },
  missing: { y: 17, height: 3 },
  outside: { y: 19, height: 1 },
};
const OVERLAP = 0.02; // or a hair of nothing would show between two bars

export class Strip {
  #paths = {};

  constructor(days) {
    this.days = days;
    this.element = svg("svg", {
      class: "strip",
      viewBox: `0 0 ${days.length} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    for (const state of Object.keys(MARKS)) {
      this.#paths[state] = svg("path", { class: state });
      this.element.append(this.#paths[state]);
    }
    this.draw();
  }

  /** Draws the days as they are now: one path for each state, however many days there are. */
  draw() {
    const drawn = {};
    for (const { state, from, count } of stretches(this.days)) {
      const { y, height } = MARKS[state];
      const width = count + OVERLAP;
      drawn[state] = `${drawn[state] ?? ""}M${from} ${y}h${width}v${height}h${-width}z`;
    }
    for (const [state, path] of Object.entries(this.#paths)) {
      setAttribute(path, "d", drawn[state] ?? null);
    }
  }

  /** The day under a place, given in pixels from the left of the strip. */
  dayAt(x) {
    const share = x / this.element.getBoundingClientRect().width;
    return this.days[
      Math.min(this.days.length - 1, Math.max(0, Math.floor(share * this.days.length)))
    ];
  }
}

/** Days that follow each other in one state, as `{state, from, count}`. */
function stretches(days) {
  const found = [];
  days.forEach(({ state }, from) => {
    const last = found.at(-1);
    if (last?.state === state) last.count += 1;
    else found.push({ state, from, count: 1 });
  });
  return found;
}
