// The days of a batch as colored squares, in order.

import { dayTooltip } from "./dayTooltip.js";
import { h, setAttribute } from "./dom.js";
import { hideTooltip, showTooltip } from "./tooltip.js";

const SMALL_SQUARES_ABOVE = 800; // days

export class DayMap {
  #squares = new Map();

  /** `onSelect` gets the day that was clicked. */
  constructor(onSelect) {
    this.element = h("div", { class: "day-map", "aria-hidden": "true" });
    this.element.addEventListener("pointerover", (event) => this.#showTooltip(event.target));
    this.element.addEventListener("pointerleave", hideTooltip);
    this.element.addEventListener("click", (event) => {
      if (event.target.dataset.day) onSelect(event.target.dataset.day);
    });
  }

  /** Shows these days; a day that is the same object as before is not drawn again. */
  update(days) {
    const shown = new Set(days.map((day) => day.sync_date));
    for (const [day, square] of this.#squares) {
      if (!shown.has(day)) (square.element.remove(), this.#squares.delete(day));
    }
    for (const day of days) {
      const square = this.#squares.get(day.sync_date) ?? this.#add(day.sync_date);
      if (square.day === day) continue;
      square.day = day;
      setAttribute(square.element, "class", `square ${stateOf(day)}`);
    }
    this.element.hidden = days.length < 2;
    this.element.classList.toggle("small-squares", days.length > SMALL_SQUARES_ABOVE);
  }

  #add(day) {
    const square = { element: h("i", { "data-day": day }), day: null };
    this.#squares.set(day, square);
    this.element.append(square.element);
    return square;
  }

  #showTooltip(target) {
    const day = this.#squares.get(target.dataset.day)?.day;
    if (!day) return hideTooltip();
    showTooltip(
      target,
      dayTooltip({
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

/** Returns the coverage state of an attempt, which also distinguishes empty and rejected days. */
function stateOf(day) {
  if (day.state !== "success") return day.state;
  if (day.rows_rejected > 0) return "rejected";
  return day.rows_read === 0 ? "empty" : "success";
}
