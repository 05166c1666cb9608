// The page of records: how things stand, the form that launches, the list.

import { Filters } from "./filters.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { Launch } from "./launch.js";
import { RecordList } from "./list.js";
import { Overview } from "./overview.js";
import { parametersOf, queryOf } from "./query.js";

export class Home {
  #app;
  #datasets = [];

  constructor(app) {
    this.#app = app;
    this.query = queryOf(new URLSearchParams(location.search));
    this.overview = new Overview();
    this.list = new RecordList(app, this.query);
    this.title = null;
  }

  /** Loads and shows everything. Throws a Problem. */
  async show(root, restored) {
    this.#datasets = await this.#app.datasets();
    this.filters = new Filters(this.query, this.#datasets, (query) => this.#ask(query));
    root.replaceChildren(
      this.overview.headline,
      this.overview.element,
      ...this.#launch(),
      this.#records(),
    );
    await Promise.all([
      this.overview.load(this.#datasets),
      this.list.load(this.query, restored?.loaded ?? 0),
    ]);
  }

  #launch() {
    if (!this.#app.mayLaunch() || !this.#datasets.length) return [];
    const form = new Launch(this.#app, this.#datasets);
    return [h("section", { class: "panel", "aria-label": t("launch.label") }, form.element)];
  }

  #records() {
    const head = h(
      "div",
      { class: "head" },
      h("h2", { id: "records" }, t("list.title")),
      this.filters.element,
    );
    return h("section", { "aria-labelledby": "records" }, head, this.list.element);
  }

  async #ask(query) {
    const parameters = parametersOf(query);
    history.replaceState(history.state, "", `/sync-status${parameters && `?${parameters}`}`);
    this.query = query;
    await this.#app.guarded(() => this.list.load(query));
  }

  onRecords(records) {
    this.overview.update(records);
    this.list.update(records);
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    this.#datasets = await this.#app.datasets();
    await Promise.all([this.overview.load(this.#datasets), this.list.load()]);
  }

  /** What brings the page back as it was. */
  state() {
    return { loaded: this.list.loaded };
  }

  leave() {
    this.overview.destroy();
    this.list.destroy();
  }
}
