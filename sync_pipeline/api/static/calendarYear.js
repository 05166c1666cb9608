// A year of a dataset: a square for each day, grouped by month. On wide screens the weeks are columns;
// on narrow screens they are rows, as on a wall calendar.

import { dayDescription, dayTooltip } from "./dayTooltip.js";
import { h, setAttribute, setVariable } from "./dom.js";
import { addDays, formatFullDay, monthName, utcMidnight, weekdayName } from "./format.js";
import { t } from "./i18n.js";
import { hideTooltip, showTooltip } from "./tooltip.js";

/** The days that an arrow key moves: with weeks as columns, and with weeks as rows. */
const STEPS = { ArrowLeft: [-7, -1], ArrowRight: [7, 1], ArrowUp: [-1, -7], ArrowDown: [1, 7] };
const MONDAY = "2024-01-01";

/** Returns the day of the week; 0 is Monday. */
const weekdayOf = (day) => (utcMidnight(day).getUTCDay() + 6) % 7;

export class CalendarYear {
  #cells = new Map();
  #coverage;
  #selection;
  #current = null;
  #selected = new Set();

  /**
   * `onOpen` gets the day that the user opens; `onLeave` the day of another year that the keyboard
   * moves to.
   */
  constructor(coverage, selection, { onOpen, onLeave }) {
    const year = coverage.from.slice(0, 4);
    this.#coverage = coverage;
    this.#selection = selection;
    this.onOpen = onOpen;
    this.onLeave = onLeave;
    this.grid = h("div", {
      class: "grid",
      role: "grid",
      "aria-label": t("calendar.yearLabel", { dataset: coverage.dataset, year }),
      "aria-multiselectable": "true",
    });
    const { days } = coverage;
    const months = [...new Set(days.map(({ day }) => day.slice(0, 7)))];
    this.grid.append(...months.map((name) => this.#month(name, days)));
    setVariable(
      this.grid,
      "--columns",
      months.reduce((sum, name) => sum + weeksOf(name, days), 0),
    );
    setVariable(this.grid, "--months", months.length);
    this.element = h(
      "div",
      { class: "year" },
      h("h3", {}, year),
      h("div", { class: "frame" }, weekdays(), this.grid),
    );
    this.#listen();
    this.showSelection();
  }

  #month(name, days) {
    const own = days.filter(({ day }) => day.startsWith(name));
    const before = weekdayOf(own[0].day);
    const cells = own.map((day, n) => {
      const cell = this.#cell(day);
      setVariable(cell, "--weekday", ((before + n) % 7) + 1);
      setVariable(cell, "--week", Math.floor((before + n) / 7) + 1);
      return cell;
    });
    const title = h("div", { class: "name", role: "rowheader" }, monthName(own[0].day));
    return h("div", { class: "month", role: "row" }, title, cells);
  }

  #cell(day) {
    const cell = h("div", { role: "gridcell", tabindex: "-1", "data-day": day.day });
    cell.append(h("span", { "aria-hidden": "true" }, String(Number(day.day.slice(8)))));
    this.#cells.set(day.day, cell);
    this.#draw(day);
    this.#mark(day.day, false);
    if (this.#current === null || day.state !== "outside") this.#setCurrent(day.day);
    return cell;
  }

  #draw(day) {
    const cell = this.#cells.get(day.day);
    setAttribute(cell, "class", `square ${day.state}`);
    setAttribute(cell, "aria-label", `${formatFullDay(day.day)}${t("separator")}${dayDescription(day)}`);
  }

  /** Draws a day again if it belongs to this year. */
  update(day) {
    if (this.#cells.has(day.day)) this.#draw(day);
  }

  /** Marks the selected days; updates only the cells whose selection changed. */
  showSelection() {
    const selected = this.#selectedNow();
    for (const day of this.#selected) if (!selected.has(day)) this.#mark(day, false);
    for (const day of selected) if (!this.#selected.has(day)) this.#mark(day, true);
    this.#selected = selected;
  }

  #selectedNow() {
    const { dataset, days } = this.#coverage;
    if (this.#selection.dataset !== dataset) return new Set();
    const names = days.map(({ day }) => day);
    return new Set(names.filter((day) => this.#selection.has(dataset, day)));
  }

  #mark(day, selected) {
    const isUnselectable = !selected && this.#coverage.get(day).state === "outside";
    setAttribute(this.#cells.get(day), "aria-selected", isUnselectable ? null : String(selected));
  }

  /** Focuses a day; returns false if it belongs to another year. */
  focus(day) {
    if (!this.#cells.has(day)) return false;
    this.#setCurrent(day);
    this.#cells.get(day).focus();
    return true;
  }

  /** Makes a day the only one that Tab moves to. */
  #setCurrent(day) {
    if (this.#current !== null) this.#cells.get(this.#current)?.setAttribute("tabindex", "-1");
    this.#current = day;
    this.#cells.get(day).setAttribute("tabindex", "0");
  }

  #listen() {
    const dayOf = (event) => this.#coverage.get(event.target.closest?.("[data-day]")?.dataset.day);
    this.grid.addEventListener("pointerover", (event) => {
      const day = dayOf(event);
      if (day && event.pointerType !== "touch") showTooltip(this.#cells.get(day.day), dayTooltip(day));
      else hideTooltip();
    });
    this.grid.addEventListener("pointerleave", hideTooltip);
    this.grid.addEventListener("focusin", (event) => {
      const day = dayOf(event);
      if (!day) return;
      this.#setCurrent(day.day);
      if (event.target.matches(":focus-visible")) showTooltip(this.#cells.get(day.day), dayTooltip(day));
    });
    this.grid.addEventListener("focusout", hideTooltip);
    this.grid.addEventListener("keydown", (event) => this.#onKey(event, dayOf(event)));
  }

  #onKey(event, day) {
    if (!day || event.ctrlKey || event.metaKey || event.altKey) return;
    const { dataset } = this.#coverage;
    const target = this.#target(event.key, day.day);
    if (target) {
      if (event.shiftKey) this.#selection.extend(dataset, target, day.day);
      if (!this.focus(target)) this.onLeave(target);
    } else if (event.key === " ") {
      if (event.shiftKey) this.#selection.extend(dataset, day.day);
      else this.#selection.set(dataset, day.day);
    } else if (event.key === "Enter") this.onOpen(day.day);
    else return;
    event.preventDefault();
  }

  #target(key, day) {
    const weeksAreColumns =
      getComputedStyle(this.grid).getPropertyValue("--weeks").trim() === "columns";
    if (key in STEPS) return addDays(day, STEPS[key][weeksAreColumns ? 0 : 1]);
    if (key === "Home") return `${day.slice(0, 8)}01`;
    if (key === "End") return addDays(nextMonth(day), -1);
    if (key === "PageUp") return `${addDays(`${day.slice(0, 8)}01`, -1).slice(0, 8)}01`;
    return key === "PageDown" ? nextMonth(day) : null;
  }
}

const nextMonth = (day) => `${addDays(`${day.slice(0, 8)}01`, 31).slice(0, 8)}01`;

function weeksOf(name, days) {
  const own = days.filter(({ day }) => day.startsWith(name));
  return Math.ceil((weekdayOf(own[0].day) + own.length) / 7);
}

function weekdays() {
  const names = [0, 1, 2, 3, 4, 5, 6].map((n) => h("span", {}, weekdayName(addDays(MONDAY, n))));
  return h("div", { class: "weekdays", "aria-hidden": "true" }, names);
}
