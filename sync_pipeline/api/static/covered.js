// A dataset on the calendar: its years, how many days are in, its gaps.

import { Coverage } from "./coverage.js";
import { Counts, countStates } from "./counts.js";
import { h } from "./dom.js";
import { Gaps } from "./gaps.js";
import { t } from "./i18n.js";
import { Year } from "./year.js";

export class Covered {
  /** `onOpen` gets a day of the coverage that is to be shown. */
  constructor(dataset, coverages, selection, { isAlone, onOpen }) {
    this.name = dataset.name;
    this.coverages = coverages;
    this.counts = new Counts();
    this.gaps = new Gaps((first, last) => selection.set(dataset.name, first, last));
    this.years = coverages.map(
      (coverage) =>
        new Year(coverage, selection, {
          onOpen: (day) => onOpen(this.get(day)),
          onLeave: (day) => this.focus(day),
        }),
    );
    this.element = h(
      "section",
      { class: "covered", "data-dataset": dataset.name, "aria-label": dataset.name },
      h(
        "div",
        { class: "head" },
        h("h2", {}, isAlone ? t("calendar.days") : linkTo(dataset)),
        h("span", { class: "second" }, about(dataset)),
        this.counts.element,
      ),
      this.years.map((year) => year.element),
      this.gaps.element,
    );
    this.#count();
  }

  /** Loads a dataset's years: all of them, or the latest. Throws a Problem. */
  static async load(dataset, selection, { isAlone, onOpen }) {
    const coverages = await Promise.all(
      yearsOf(dataset, isAlone).map((year) =>
        Coverage.of(dataset.name, `${year}-01-01`, `${year}-12-31`),
      ),
    );
    return new Covered(dataset, coverages, selection, { isAlone, onOpen });
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
