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

export class Strip {
  #bars = new Map();

  constructor(days) {
    this.days = days;
    this.element = svg("svg", {
      class: "strip",
      viewBox: `0 0 ${days.length} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    days.forEach((day, index) => {
      const bar = svg("rect", { x: index, width: 1.02 });
      this.#bars.set(day.day, bar);
      this.element.append(bar);
      draw(bar, day.state);
    });
  }

  /** Draws a day that changed. */
  update(day) {
    const bar = this.#bars.get(day.day);
    if (bar) draw(bar, day.state);
  }

  /** The day under a place, given in pixels from the left of the strip. */
  dayAt(x) {
    const share = x / this.element.getBoundingClientRect().width;
    return this.days[
      Math.min(this.days.length - 1, Math.max(0, Math.floor(share * this.days.length)))
    ];
  }
}

function draw(bar, state) {
  setAttribute(bar, "class", state);
  for (const [name, value] of Object.entries(MARKS[state])) setAttribute(bar, name, value);
}
