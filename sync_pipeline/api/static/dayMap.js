// The days of a batch as squares, in order: where it stands, at one look.

import { dayTip } from "./dayTooltip.js";
import { h, setAttribute } from "./dom.js";
import { hideTip, showTip } from "./tooltip.js";

const MANY = 800; // days, above which their squares are small

export class DayMap {
  #squares = new Map();

  /** `onPick` gets the day that was clicked. */
  constructor(onPick) {
    this.element = h("div", { class: "daymap", "aria-hidden": "true" });
    this.element.addEventListener("pointerover", (event) => this.#point(event.target));
    this.element.addEventListener("pointerleave", hideTip);
    this.element.addEventListener("click", (event) => {
      if (event.target.dataset.day) onPick(event.target.dataset.day);
    });
  }

  /** Shows these days; one that is the same object as before is not looked at. */
  update(days) {
    const there = new Set(days.map((day) => day.sync_date));
    for (const [day, square] of this.#squares) {
      if (!there.has(day)) (square.element.remove(), this.#squares.delete(day));
    }
    for (const day of days) {
      const square = this.#squares.get(day.sync_date) ?? this.#add(day.sync_date);
      if (square.day === day) continue;
      square.day = day;
      setAttribute(square.element, "class", `square ${stateOf(day)}`);
    }
    this.element.hidden = days.length < 2;
    this.element.classList.toggle("many", days.length > MANY);
  }

  #add(day) {
    const square = { element: h("i", { "data-day": day }), day: null };
    this.#squares.set(day, square);
    this.element.append(square.element);
    return square;
  }

  #point(target) {
    const day = this.#squares.get(target.dataset.day)?.day;
    if (!day) return hideTip();
    showTip(
      target,
      dayTip({
        day: day.sync_date,
        state: day.state,
        rows: day.rows_loaded,
        rows_rejected: day.rows_rejected,
        duration_seconds: day.duration_seconds,
        end_time: day.state === "skipped" ? null : day.ended_at,
        error_message: day.error_message,
      }),
    );
  }
}

/** What an attempt's state is on a square: like a day's of a coverage, where it is the same. */
function stateOf(day) {
  if (day.state !== "success") return day.state;
  if (day.rows_rejected > 0) return "rejected";
  return day.rows_read === 0 ? "empty" : "success";
}
