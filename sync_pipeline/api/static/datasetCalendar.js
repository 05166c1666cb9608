// A dataset on the calendar: its years, how many days are in, its gaps. It is loaded once it is near
// to what is looked at, because there may be many.

import { Coverage } from "./coverage.js";
import { Counts, countStates } from "./dayCounts.js";
import { h, replace } from "./dom.js";
import { Gaps } from "./gaps.js";
import { t } from "./i18n.js";
import { Year } from "./calendarYear.js";

export class Covered {
  #selection;
  #options;
  #dataset;

  /** `onOpen` gets a day of the coverage that is to be shown. Nothing is loaded yet. */
  constructor(dataset, selection, options) {
    this.#dataset = dataset;
    this.#selection = selection;
    this.#options = options;
    this.name = dataset.name;
    this.isWanted = false;
    this.coverages = [];
    this.years = [];
    this.counts = new Counts();
    this.gaps = new Gaps((first, last) => selection.set(dataset.name, first, last));
    this.body = h("div");
    this.element = h(
      "section",
      { class: "covered waiting", "data-dataset": dataset.name, "aria-label": dataset.name },
      h(
        "div",
        { class: "head" },
        h("h2", {}, options.isAlone ? t("calendar.days") : linkTo(dataset)),
        h("span", { class: "second" }, about(dataset)),
        this.counts.element,
      ),
      this.body,
      this.gaps.element,
    );
  }

  /** Loads the dataset's years, all of them or the latest, and shows them. Throws a Problem. */
  async load(dataset = this.#dataset) {
    this.#dataset = dataset;
    this.isWanted = true;
    this.coverages = await Promise.all(
      yearsOf(dataset, this.#options.isAlone).map((year) =>
        Coverage.of(dataset.name, `${year}-01-01`, `${year}-12-31`),
      ),
    );
    const focused = this.#focusedDay(); // now: it may have moved since
    this.years = this.coverages.map((coverage) => this.#yearOf(coverage));
    replace(
      this.body,
      this.years.map((year) => year.element),
    );
    this.element.classList.remove("waiting");
    this.#count();
    if (focused) this.focus(focused);
  }

  #yearOf(coverage) {
    return new Year(coverage, this.#selection, {
      onOpen: (day) => this.#options.onOpen(this.get(day)),
      onLeave: (day) => this.focus(day),
    });
  }

  #focusedDay() {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    return focused?.closest("[data-day]")?.dataset.day ?? null;
  }

  /** What is known of a day. */
  get(day) {
    return this.coverages.map((coverage) => coverage.get(day)).find(Boolean);
  }

  /** Puts the focus on a day; returns whether it is shown. */
  focus(day) {
    return this.years.some((year) => year.focus(day));
  }

  /** Marks the days that are selected. */
  select() {
    for (const year of this.years) year.select();
  }

  /** Takes in records that changed. */
  update(records) {
    let changed = false;
    this.coverages.forEach((coverage, n) => {
      for (const day of coverage.take(records)) {
        this.years[n].update(day);
        changed = true;
      }
    });
    if (changed) this.#count();
  }

  #count() {
    this.counts.update(countStates(this.coverages.flatMap((coverage) => coverage.days)));
    this.gaps.update(this.coverages.flatMap((coverage) => coverage.gaps()));
  }
}

/** The years to show, the latest first; early in a year, the one before it too. */
function yearsOf({ first_day: firstDay, last_day: lastDay }, all) {
  const begun = Number(firstDay.slice(0, 4));
  const last = Math.max(begun, Number((lastDay ?? firstDay).slice(0, 4)));
  const early = (lastDay ?? firstDay) < `${last}-03-01`;
  const first = all ? begun : Math.max(begun, early ? last - 1 : last);
  return Array.from({ length: last - first + 1 }, (_, n) => last - n);
}

function linkTo({ name }) {
  const address = `/sync-status/calendar?dataset=${encodeURIComponent(name)}`;
  return h("a", { href: address, title: t("calendar.allYears") }, name);
}

const about = ({ description, timezone, schedule }) =>
  [description, timezone, schedule && t("calendar.at", { time: schedule.split(" ")[0] })]
    .filter(Boolean)
    .join(t("separator"));
