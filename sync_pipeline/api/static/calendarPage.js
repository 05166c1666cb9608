// The coverage calendar: the latest year of every dataset, or all years of one dataset. Users can
// select days on it and launch them.

import { DatasetCalendar } from "./datasetCalendar.js";
import { h, replace } from "./dom.js";
import { enableDragSelection } from "./dragSelection.js";
import { t } from "./i18n.js";
import { Selection } from "./selection.js";
import { SelectionBar } from "./selectionBar.js";
import { DAY_STATES } from "./states.js";
import { hideTooltip } from "./tooltip.js";

const URL_PATH = "/sync-status/calendar";
const LOADED_FIRST = 3; // datasets to load with the page; the others load when scrolled to
const LOAD_MARGIN = "600px"; // distance from the visible part at which a dataset is loaded

export class CalendarPage {
  #app;
  #calendars = [];
  #isSelecting = false;
  #left = false;
  #observer = new IntersectionObserver((entries) => this.#onIntersect(entries), {
    rootMargin: LOAD_MARGIN,
  });

  constructor(app) {
    this.#app = app;
    this.dataset = new URLSearchParams(location.search).get("dataset"); // null: all datasets
    this.selection = new Selection();
    this.selection.onChange(() => this.#onSelectionChange());
    this.body = h("div");
    this.selectionBar = null;
  }

  /** Loads and shows the calendar. Throws a Problem. */
  async show(root) {
    const datasets = await this.#app.listDatasets();
    if (this.#left) return;
    if (this.#app.canLaunch()) {
      this.selectionBar = new SelectionBar(this.#app, datasets, this.selection, () =>
        this.#selectedDays(),
      );
    }
    enableDragSelection(this.body, this.selection, {
      isSelecting: () => this.#isSelecting,
      onOpen: (dataset, day) => this.#open(this.#find(dataset).get(day)),
    });
    document.addEventListener("keydown", this.#onKey);
    document.title = `${t("calendar.title")} · ${t("app")}`;
    root.classList.add("calendar");
    root.append(this.#title(datasets), legend(), this.body, this.selectionBar?.element ?? "");
    await this.#load(datasets);
  }

  /** Shows the datasets; loads the first ones, and those that were loaded before. */
  async #load(datasets) {
    const wanted = datasets.filter((each) => !this.dataset || each.name === this.dataset);
    const before = new Map(this.#calendars.map((each) => [each.name, each]));
    this.#calendars = wanted.map((each) => before.get(each.name) ?? this.#createCalendar(each));
    const elements = this.#calendars.map((each) => each.element);
    if (!elements.length || elements.some((each, n) => each !== this.body.children[n])) {
      replace(this.body, elements.length ? elements : h("p", {}, t("calendar.notFound")));
    }
    while (this.body.children.length > Math.max(1, elements.length)) this.body.lastChild.remove();
    const toLoad = wanted.filter((_, n) => n < LOADED_FIRST || this.#calendars[n].isRequested);
    await Promise.all(toLoad.map((each) => this.#find(each.name).load(each)));
  }

  #createCalendar(dataset) {
    const calendar = new DatasetCalendar(dataset, this.selection, {
      isAlone: Boolean(this.dataset),
      onOpen: (day) => this.#open(day),
    });
    this.#observer.observe(calendar.element);
    return calendar;
  }

  #find(dataset) {
    return this.#calendars.find((each) => each.name === dataset);
  }

  #onIntersect(entries) {
    for (const { target, isIntersecting } of entries) {
      const calendar = this.#find(target.dataset.dataset);
      if (!isIntersecting || !calendar || calendar.isRequested) continue;
      this.#app.catchProblem(() => calendar.load());
    }
  }

  #title(datasets) {
    this.datasetSelect = h(
      "select",
      { onchange: () => this.#app.navigate(urlOf(this.datasetSelect.value)) },
      this.#datasetOptions(datasets),
    );
    const label = h("span", { class: "visually-hidden" }, t("filter.dataset"));
    return h(
      "div",
      { class: "title" },
      h("h1", { tabindex: "-1" }, this.dataset ?? t("calendar.title")),
      h(
        "div",
        { class: "right" },
        this.#selectButton(),
        h("label", { class: "field" }, label, this.datasetSelect),
      ),
    );
  }

  #datasetOptions(datasets) {
    return ["", ...datasets.map((each) => each.name)].map((name) =>
      h(
        "option",
        { value: name, selected: name === (this.dataset ?? "") },
        name || t("filter.allDatasets"),
      ),
    );
  }

  /** Returns a toggle button for touch screens: while it is pressed, a tap selects a day. */
  #selectButton() {
    if (!this.#app.canLaunch()) return null;
    const button = h(
      "button",
      { type: "button", class: "plain small", "aria-pressed": "false" },
      t("calendar.selectDays"),
    );
    button.addEventListener("click", () => {
      this.#isSelecting = !this.#isSelecting;
      button.setAttribute("aria-pressed", String(this.#isSelecting));
    });
    return button;
  }

  #onKey = (event) => {
    if (event.key === "Escape") this.selection.clear();
  };

  #onSelectionChange() {
    for (const each of this.#calendars) each.showSelection();
    this.selectionBar?.update();
  }

  /** Returns the selected days that are loaded. */
  #selectedDays() {
    return this.#calendars
      .flatMap((each) => each.coverages)
      .flatMap(({ dataset, days }) => days.filter(({ day }) => this.selection.has(dataset, day)));
  }

  /** Navigates to the record of a day; selects the day if it has no record. */
  #open(day) {
    hideTooltip();
    if (day.record_id) this.#app.navigate(`/sync-status/${day.record_id}`);
    else if (day.state !== "outside") this.selection.set(day.dataset, day.day);
  }

  onRecords(records) {
    for (const each of this.#calendars) each.update(records);
    if (!this.selection.isEmpty) this.selectionBar?.update();
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    const datasets = await this.#app.listDatasets();
    if (this.#left) return;
    this.selectionBar?.refresh(datasets);
    replace(this.datasetSelect, this.#datasetOptions(datasets));
    await this.#load(datasets);
    this.#onSelectionChange();
  }

  state() {
    return {};
  }

  leave() {
    this.#left = true;
    this.#observer.disconnect();
    document.removeEventListener("keydown", this.#onKey);
    hideTooltip();
  }
}

const urlOf = (dataset) => URL_PATH + (dataset && `?dataset=${encodeURIComponent(dataset)}`);

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
    h("p", { class: "secondary" }, t("calendar.help")),
  );
}
