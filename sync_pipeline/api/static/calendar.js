// The coverage calendar: a year of each dataset at one look, or all years of one; days are
// selected on it, and launched.

import { Covered } from "./covered.js";
import { Dock } from "./dock.js";
import { h, replace } from "./dom.js";
import { dragSelects } from "./drag.js";
import { t } from "./i18n.js";
import { Selection } from "./selection.js";
import { DAY_STATES } from "./states.js";
import { hideTip } from "./tooltip.js";

const HERE = "/sync-status/calendar";

export class Calendar {
  #app;
  #covered = [];
  #picking = false;
  #left = false;

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
        this.#open(this.#covered.find((each) => each.name === dataset).get(day)),
    });
    document.addEventListener("keydown", this.#onKey);
    document.title = `${t("calendar.title")} · ${t("app")}`;
    root.classList.add("calendar");
    root.append(this.#title(datasets), legend(), this.body, this.dock?.element ?? "");
    await this.#load(datasets);
  }

  async #load(datasets) {
    const wanted = datasets.filter((each) => !this.only || each.name === this.only);
    const options = { isAlone: Boolean(this.only), onOpen: (day) => this.#open(day) };
    const covered = await Promise.all(
      wanted.map((each) => Covered.load(each, this.selection, options)),
    );
    if (this.#left) return;
    const focused = document.activeElement?.closest?.("[data-day]"); // now: it may have moved since
    const dataset = focused?.closest("[data-dataset]").dataset.dataset;
    this.#covered = covered;
    const none = wanted.length ? null : h("p", {}, t("calendar.none"));
    replace(
      this.body,
      this.#covered.map((each) => each.element),
      none,
    );
    if (focused) this.#covered.find((each) => each.name === dataset)?.focus(focused.dataset.day);
  }

  #title(datasets) {
    const select = h(
      "select",
      { onchange: () => this.#app.go(address(select.value)) },
      ["", ...datasets.map((each) => each.name)].map((name) =>
        h(
          "option",
          { value: name, selected: name === (this.only ?? "") },
          name || t("filter.allDatasets"),
        ),
      ),
    );
    const label = h("span", { class: "unseen" }, t("filter.dataset"));
    return h(
      "div",
      { class: "title" },
      h("h1", { tabindex: "-1" }, this.only ?? t("calendar.title")),
      h("div", { class: "right" }, this.#pick(), h("label", { class: "field" }, label, select)),
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
    await this.#load(await this.#app.datasets());
    this.#onSelection();
  }

  state() {
    return {};
  }

  leave() {
    this.#left = true;
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
