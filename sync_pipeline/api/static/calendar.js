// The coverage calendar: a year of each dataset at one look, or all years of one; days are
// selected on it, and launched.

import { Coverage } from "./coverage.js";
import { h, replace, setText } from "./dom.js";
import { daysBetween, range } from "./format.js";
import { t } from "./i18n.js";
import { Launch } from "./launch.js";
import { dragSelects } from "./drag.js";
import { Selection } from "./selection.js";
import { DAY_STATES, countWords, glyph } from "./states.js";
import { countStates } from "./strip.js";
import { hideTip } from "./tooltip.js";
import { Year } from "./year.js";

const MOST_GAPS = 12;

export class Calendar {
  #app;
  #coverages = [];
  #years = [];
  #heads = new Map();

  constructor(app) {
    this.#app = app;
    this.only = new URLSearchParams(location.search).get("dataset");
    this.selection = new Selection();
    this.selection.onChange(() => this.#onSelection());
  }

  /** Loads and shows the calendar. Throws a Problem. */
  async show(root) {
    const datasets = await this.#app.datasets();
    this.body = h("div", { class: "calendars" });
    this.said = h("p", { class: "selected" });
    this.dock = this.#dock(datasets);
    dragSelects(this.body, this.selection, {
      isPicking: () => this.pick?.getAttribute("aria-pressed") === "true",
      onOpen: (dataset, day) => this.#open(dataset, day),
    });
    document.addEventListener("keydown", this.#onKey);
    root.classList.add("calendar");
    root.append(
      h(
        "div",
        { class: "title" },
        h("h1", { tabindex: "-1" }, this.only ?? t("calendar.title")),
        this.#tools(datasets),
      ),
      legend(),
      this.body,
      this.dock,
    );
    document.title = `${t("calendar.title")} · ${t("app")}`;
    await this.#load(datasets);
  }

  #onKey = (event) => {
    if (event.key === "Escape") this.selection.clear();
  };

  async #load(datasets) {
    const wanted = datasets.filter((each) => !this.only || each.name === this.only);
    const asked = wanted.flatMap((each) =>
      yearsOf(each, Boolean(this.only)).map((year) => [each, year]),
    );
    const answers = await Promise.all(
      asked.map(([each, year]) => Coverage.of(each.name, `${year}-01-01`, `${year}-12-31`)),
    );
    this.#coverages = answers;
    this.#years = answers.map((coverage, n) => this.#year(asked[n][1], coverage));
    replace(
      this.body,
      wanted.map((each) => this.#section(each)),
      wanted.length ? null : h("p", {}, t("calendar.none")),
    );
    this.#count();
  }

  #year(year, coverage) {
    return new Year(year, coverage, this.selection, {
      onOpen: (dataset, day) => this.#open(dataset, day),
      onLeave: (dataset, day) =>
        this.#years.some((each) => each.dataset === dataset && each.focus(day)),
    });
  }

  #section(dataset) {
    const counts = h("span", { class: "counts" });
    const gaps = h("div", { class: "gaps" });
    this.#heads.set(dataset.name, { counts, gaps });
    const years = this.#years.filter((_, n) => this.#coverages[n].dataset === dataset.name);
    const all = `/sync-status/calendar?dataset=${encodeURIComponent(dataset.name)}`;
    const name = this.only
      ? t("calendar.days")
      : h("a", { href: all, title: t("calendar.allYears") }, dataset.name);
    return h(
      "section",
      { class: "covered", "data-dataset": dataset.name, "aria-label": dataset.name },
      h(
        "div",
        { class: "head" },
        h("h2", {}, name),
        h("span", { class: "second" }, about(dataset)),
        counts,
      ),
      years.map((year) => year.element),
      gaps,
    );
  }

  #tools(datasets) {
    const choose = (event) =>
      this.#app.go(
        `/sync-status/calendar${event.target.value ? `?dataset=${encodeURIComponent(event.target.value)}` : ""}`,
      );
    const select = h(
      "select",
      { onchange: choose },
      ["", ...datasets.map((each) => each.name)].map((name) =>
        h(
          "option",
          { value: name, selected: name === (this.only ?? "") },
          name || t("filter.allDatasets"),
        ),
      ),
    );
    this.pick = h(
      "button",
      { type: "button", class: "plain small pick", "aria-pressed": "false" },
      t("calendar.pick"),
    );
    this.pick.addEventListener("click", () => {
      this.pick.setAttribute(
        "aria-pressed",
        String(this.pick.getAttribute("aria-pressed") !== "true"),
      );
    });
    const field = h(
      "label",
      { class: "field" },
      h("span", { class: "unseen" }, t("filter.dataset")),
      select,
    );
    return h("div", { class: "right" }, this.#app.mayLaunch() ? this.pick : null, field);
  }

  #dock(datasets) {
    if (!this.#app.mayLaunch()) return "";
    this.launch = new Launch(this.#app, datasets, {
      onChange: (request) => this.#onForm(request),
      onLaunched: () => this.selection.clear(),
    });
    const clear = h("button", { type: "button", class: "plain small" }, t("calendar.clear"));
    clear.addEventListener("click", () => this.selection.clear());
    return h(
      "section",
      { class: "dock", hidden: true, "aria-label": t("launch.label") },
      h("div", { class: "head", role: "status" }, this.said, clear),
      this.launch.element,
    );
  }

  /** The form follows the selection, and the selection the form. */
  #onSelection() {
    for (const year of this.#years) year.select();
    if (!this.launch) return;
    const { dataset, first, last, isEmpty } = this.selection;
    this.dock.hidden = isEmpty;
    if (isEmpty) return;
    const days = this.#coverages.flatMap((each) =>
      each.days.filter(({ day }) => this.selection.has(each.dataset, day)),
    );
    const words = countWords(countStates(days))
      .map((part) => part.text)
      .join(t("separator"));
    setText(this.said, t("calendar.selected", { n: daysBetween(first, last), words }));
    const now = this.launch.request();
    if (now?.dataset !== dataset || now.start_date !== first || now.end_date !== last)
      this.launch.set({ dataset, first, last });
  }

  #onForm(request) {
    if (!request || request.start_date > request.end_date) return;
    const { dataset, first, last, isEmpty } = this.selection;
    const same =
      dataset === request.dataset && first === request.start_date && last === request.end_date;
    if (!isEmpty && !same)
      this.selection.set(request.dataset, request.start_date, request.end_date);
  }

  /** Goes to the record of a day; one that has none is selected, to be launched. */
  #open(dataset, day) {
    hideTip();
    const known = this.#coverages
      .find((each) => each.dataset === dataset && each.get(day))
      .get(day);
    if (known.record_id) this.#app.go(`/sync-status/${known.record_id}`);
    else if (known.state !== "outside") this.selection.set(dataset, day);
  }

  #count() {
    for (const [dataset, { counts, gaps }] of this.#heads) {
      const own = this.#coverages.filter((each) => each.dataset === dataset);
      const sums = countStates(own.flatMap((each) => each.days));
      replace(
        counts,
        countWords(sums).map(({ state, text }) =>
          h("span", { class: `state ${state}` }, glyph(state), h("span", {}, text)),
        ),
      );
      this.#gaps(
        gaps,
        dataset,
        own.flatMap((each) => each.gaps()),
      );
    }
  }

  #gaps(element, dataset, found) {
    const shown = found.slice(-MOST_GAPS);
    const chips = shown.map(([first, last, state]) =>
      h(
        "button",
        {
          type: "button",
          class: `gap ${state}`,
          onclick: () => this.selection.set(dataset, first, last),
        },
        glyph(state),
        h("span", {}, range(first, last)),
        h("span", { class: "unseen" }, t(`state.${state}`)),
      ),
    );
    const rest = found.length - shown.length;
    element.hidden = !found.length;
    replace(
      element,
      h("span", { class: "second" }, t("calendar.gaps")),
      chips,
      rest ? h("span", { class: "second" }, t("calendar.moreGaps", { n: rest })) : null,
    );
  }

  onRecords(records) {
    let changed = false;
    this.#coverages.forEach((coverage, n) => {
      for (const day of coverage.take(records)) {
        this.#years[n].update(day);
        changed = true;
      }
    });
    if (changed) this.#count();
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    const focused = document.activeElement?.closest?.("[data-day]")?.dataset.day;
    await this.#load(await this.#app.datasets());
    this.#onSelection();
    if (focused) this.#years.some((year) => year.focus(focused));
  }

  state() {
    return {};
  }

  leave() {
    document.removeEventListener("keydown", this.#onKey);
    hideTip();
  }
}

function yearsOf(dataset, all) {
  const last = Number((dataset.last_day ?? dataset.first_day).slice(0, 4));
  const first = all ? Number(dataset.first_day.slice(0, 4)) : last;
  return Array.from({ length: last - first + 1 }, (_, n) => String(last - n));
}

const about = (dataset) =>
  [
    dataset.description,
    dataset.timezone,
    dataset.schedule && t("calendar.at", { time: dataset.schedule }),
  ]
    .filter(Boolean)
    .join(t("separator"));

function legend() {
  const entry = (state) =>
    h(
      "span",
      { class: "entry" },
      h("i", { class: `square ${state}` }),
      h("span", {}, t(`state.${state}`)),
    );
  return h(
    "div",
    { class: "legend" },
    DAY_STATES.map(entry),
    h("p", { class: "second" }, t("calendar.how")),
  );
}
