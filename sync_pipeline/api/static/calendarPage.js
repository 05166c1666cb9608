// The coverage calendar: a year of each dataset at one look, or all years of one; days are
// selected on it, and launched.

import { Covered } from "./datasetCalendar.js";
import { Dock } from "./selectionBar.js";
import { h, replace } from "./dom.js";
import { dragSelects } from "./dragSelection.js";
import { t } from "./i18n.js";
import { Selection } from "./selection.js";
import { DAY_STATES } from "./states.js";
import { hideTip } from "./tooltip.js";

const HERE = "/sync-status/calendar";
const AT_ONCE = 3; // datasets that are loaded before the page is there; the others as they come near
const NEAR = "600px";

export class Calendar {
  #app;
  #covered = [];
  #picking = false;
  #left = false;
  #near = new IntersectionObserver((entries) => this.#onNear(entries), { rootMargin: NEAR });

  constructor(app) {
    this.#app = app;
    this.only = new URLSearchParams(location.search).get("dataset");
    this.selection = new Selection();
    this.selection.onChange(() => this.#onSelection());
    this.body = h("div");
    this.dock = null;
  }

  /** Loads and shows the calendar. Throws a Problem. */
  async show(root) {
    const datasets = await this.#app.datasets();
    if (this.#left) return;
    if (this.#app.mayLaunch()) {
      this.dock = new Dock(this.#app, datasets, this.selection, () => this.#selected());
    }
    dragSelects(this.body, this.selection, {
      isPicking: () => this.#picking,
      onOpen: (dataset, day) =>
        this.#open(this.#find(dataset).get(day)),
    });
    document.addEventListener("keydown", this.#onKey);
    document.title = `${t("calendar.title")} · ${t("app")}`;
    root.classList.add("calendar");
    root.append(this.#title(datasets), legend(), this.body, this.dock?.element ?? "");
    await this.#load(datasets);
  }

  /** Shows the datasets; loads those that were looked at before, and the first ones. */
  async #load(datasets) {
    const wanted = datasets.filter((each) => !this.only || each.name === this.only);
    const before = new Map(this.#covered.map((each) => [each.name, each]));
    this.#covered = wanted.map((each) => before.get(each.name) ?? this.#newOf(each));
    const elements = this.#covered.map((each) => each.element);
    if (!elements.length || elements.some((each, n) => each !== this.body.children[n])) {
      replace(this.body, elements.length ? elements : h("p", {}, t("calendar.none")));
    }
    while (this.body.children.length > Math.max(1, elements.length)) this.body.lastChild.remove();
    const now = wanted.filter((_, n) => n < AT_ONCE || this.#covered[n].isWanted);
    await Promise.all(now.map((each) => this.#find(each.name).load(each)));
  }

  #newOf(dataset) {
    const covered = new Covered(dataset, this.selection, {
      isAlone: Boolean(this.only),
      onOpen: (day) => this.#open(day),
    });
    this.#near.observe(covered.element);
    return covered;
  }

  #find(dataset) {
    return this.#covered.find((each) => each.name === dataset);
  }

  #onNear(entries) {
    for (const { target, isIntersecting } of entries) {
      const covered = this.#find(target.dataset.dataset);
      if (!isIntersecting || !covered || covered.isWanted) continue;
      this.#app.guarded(() => covered.load());
    }
  }

  #title(datasets) {
    this.choice = h(
      "select",
      { onchange: () => this.#app.go(address(this.choice.value)) },
      this.#choices(datasets),
    );
    const label = h("span", { class: "unseen" }, t("filter.dataset"));
    return h(
      "div",
      { class: "title" },
      h("h1", { tabindex: "-1" }, this.only ?? t("calendar.title")),
      h("div", { class: "right" }, this.#pick(), h("label", { class: "field" }, label, this.choice)),
    );
  }

  #choices(datasets) {
    return ["", ...datasets.map((each) => each.name)].map((name) =>
      h(
        "option",
        { value: name, selected: name === (this.only ?? "") },
        name || t("filter.allDatasets"),
      ),
    );
  }

  /** A button for who cannot drag: while it is pressed, a click selects. */
  #pick() {
    if (!this.#app.mayLaunch()) return null;
    const pick = h(
      "button",
      { type: "button", class: "plain small", "aria-pressed": "false" },
      t("calendar.pick"),
    );
    pick.addEventListener("click", () => {
      this.#picking = !this.#picking;
      pick.setAttribute("aria-pressed", String(this.#picking));
    });
    return pick;
  }

  #onKey = (event) => {
    if (event.key === "Escape") this.selection.clear();
  };

  #onSelection() {
    for (const each of this.#covered) each.select();
    this.dock?.update();
  }

  /** The days that are selected, as far as they are shown. */
  #selected() {
    return this.#covered
      .flatMap((each) => each.coverages)
      .flatMap(({ dataset, days }) => days.filter(({ day }) => this.selection.has(dataset, day)));
  }

  /** Goes to the record of a day; one that has none is selected, to be launched. */
  #open(day) {
    hideTip();
    if (day.record_id) this.#app.go(`/sync-status/${day.record_id}`);
    else if (day.state !== "outside") this.selection.set(day.dataset, day.day);
  }

  onRecords(records) {
    for (const each of this.#covered) each.update(records);
    if (!this.selection.isEmpty) this.dock?.update();
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    const datasets = await this.#app.datasets();
    if (this.#left) return;
    this.dock?.refresh(datasets);
    replace(this.choice, this.#choices(datasets));
    await this.#load(datasets);
    this.#onSelection();
  }

  state() {
    return {};
  }

  leave() {
    this.#left = true;
    this.#near.disconnect();
    document.removeEventListener("keydown", this.#onKey);
    hideTip();
  }
}

const address = (dataset) => HERE + (dataset && `?dataset=${encodeURIComponent(dataset)}`);

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
