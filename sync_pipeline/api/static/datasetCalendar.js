// The calendar of one dataset: its years, day counts and gaps. It is loaded when it comes close to
// the visible part of the page, because there may be many datasets.

import { CalendarYear } from "./calendarYear.js";
import { Coverage } from "./coverage.js";
import { countStates, DayCounts } from "./dayCounts.js";
import { h, replace } from "./dom.js";
import { Gaps } from "./gaps.js";
import { t } from "./i18n.js";

export class DatasetCalendar {
  #selection;
  #options;
  #dataset;

  /**
   * Creates the calendar without loading it. With `isAlone` it shows all years instead of the
   * latest; `onOpen` gets the day of the coverage that the user opens.
   */
  constructor(dataset, selection, options) {
    this.#dataset = dataset;
    this.#selection = selection;
    this.#options = options;
    this.name = dataset.name;
    this.isRequested = false;
    this.coverages = [];
    this.years = [];
    this.counts = new DayCounts();
    this.gaps = new Gaps((first, last) => selection.set(dataset.name, first, last));
    this.body = h("div");
    this.element = h(
      "section",
      {
        class: "dataset-calendar loading",
        "data-dataset": dataset.name,
        "aria-label": dataset.name,
      },
      h(
        "div",
        { class: "head" },
        h("h2", {}, options.isAlone ? t("calendar.days") : calendarLink(dataset)),
        h("span", { class: "secondary" }, describeDataset(dataset)),
        this.counts.element,
      ),
      this.body,
      this.gaps.element,
    );
  }

  /** Loads and shows the years of the dataset. Throws a Problem. */
  async load(dataset = this.#dataset) {
    this.#dataset = dataset;
    this.isRequested = true;
    this.coverages = await Promise.all(
      yearsToShow(dataset, this.#options.isAlone).map((year) =>
        Coverage.load(dataset.name, `${year}-01-01`, `${year}-12-31`),
      ),
    );
    const focused = this.#focusedDay(); // read after loading, because the focus may have moved
    this.years = this.coverages.map((coverage) => this.#createYear(coverage));
    replace(
      this.body,
      this.years.map((year) => year.element),
    );
    this.element.classList.remove("loading");
    this.#updateCounts();
    if (focused) this.focus(focused);
  }

  #createYear(coverage) {
    return new CalendarYear(coverage, this.#selection, {
      onOpen: (day) => this.#options.onOpen(this.get(day)),
      onLeave: (day) => this.focus(day),
    });
  }

  #focusedDay() {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    return focused?.closest("[data-day]")?.dataset.day ?? null;
  }

  /** Returns a day of the coverage, or undefined if it is not loaded. */
  get(day) {
    return this.coverages.map((coverage) => coverage.get(day)).find(Boolean);
  }

  /** Focuses a day; returns false if it is not shown. */
  focus(day) {
    return this.years.some((year) => year.focus(day));
  }

  /** Marks the selected days. */
  showSelection() {
    for (const year of this.years) year.showSelection();
  }

  /** Applies records that changed. */
  update(records) {
    let changed = false;
    this.coverages.forEach((coverage, n) => {
      for (const day of coverage.update(records)) {
        this.years[n].update(day);
        changed = true;
      }
    });
    if (changed) this.#updateCounts();
  }

  #updateCounts() {
    this.counts.update(countStates(this.coverages.flatMap((coverage) => coverage.days)));
    this.gaps.update(this.coverages.flatMap((coverage) => coverage.gaps()));
  }
}

/** Returns the years to show, latest first: all, or the latest and, before March, the one before. */
function yearsToShow({ first_day: firstDay, last_day: lastDay }, all) {
  const earliest = Number(firstDay.slice(0, 4));
  const latest = Math.max(earliest, Number((lastDay ?? firstDay).slice(0, 4)));
  const isEarlyInYear = (lastDay ?? firstDay) < `${latest}-03-01`;
  const first = all ? earliest : Math.max(earliest, isEarlyInYear ? latest - 1 : latest);
  return Array.from({ length: latest - first + 1 }, (_, n) => latest - n);
}

function calendarLink({ name }) {
  const url = `/sync-status/calendar?dataset=${encodeURIComponent(name)}`;
  return h("a", { href: url, title: t("calendar.allYears") }, name);
}

const describeDataset = ({ description, timezone, schedule }) =>
  [description, timezone, schedule && t("calendar.schedule", { time: schedule.split(" ")[0] })]
    .filter(Boolean)
    .join(t("separator"));
