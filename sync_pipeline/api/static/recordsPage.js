// The page of records: how things stand, the form that launches, the list.

import { Filters } from "./filters.js";
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { Launch } from "./launchForm.js";
import { RecordList } from "./recordList.js";
import { Overview } from "./overview.js";
import { problemWords } from "./problems.js";
import { parametersOf, queryOf } from "./listQuery.js";

const TRY_AGAIN = 10_000; // milliseconds

export class Home {
  #app;
  #datasets = [];
  #root = null;
  #again = 0;
  form = null;

  constructor(app) {
    this.#app = app;
    this.query = queryOf(new URLSearchParams(location.search));
    this.overview = new Overview();
    this.list = new RecordList(app, this.query);
    this.unknown = h("p", { class: "error block", hidden: true });
  }

  /** Loads and shows everything. Throws a Problem. */
  async show(root, restored) {
    this.#root = root;
    await this.#find();
    if (this.#root !== root) return; // it was left meanwhile
    this.filters = new Filters(this.query, this.#datasets, (query) => this.#ask(query));
    root.replaceChildren(
      this.overview.headline,
      this.unknown,
      this.overview.element,
      ...this.#launch(),
      this.#records(),
    );
    await Promise.all([
      this.overview.load(this.#datasets),
      this.list.load(this.query, restored?.loaded ?? 0),
    ]);
  }

  /** Asks for the datasets. While Dagster has never answered there are none, but the records are. */
  async #find() {
    try {
      this.#datasets = await this.#app.datasets();
      this.unknown.hidden = true;
    } catch (problem) {
      if (problem.status < 500) throw problem;
      replace(this.unknown, problemWords(problem));
      this.unknown.hidden = false;
      clearTimeout(this.#again);
      this.#again = setTimeout(() => this.#app.guarded(() => this.reload()), TRY_AGAIN);
    }
  }

  #launch() {
    if (!this.#app.mayLaunch() || !this.#datasets.length) return [];
    this.form = new Launch(this.#app, this.#datasets);
    return [h("section", { class: "panel", "aria-label": t("launch.label") }, this.form.element)];
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
    if (!this.#root) return;
    if (!this.#datasets.length) return this.show(this.#root, this.state());
    await this.#find();
    if (!this.#root) return;
    this.form?.refresh(this.#datasets);
    this.filters.refresh(this.#datasets);
    await Promise.all([this.overview.load(this.#datasets), this.list.load()]);
  }

  /** What brings the page back as it was. */
  state() {
    return { loaded: this.list.loaded };
  }

  leave() {
    clearTimeout(this.#again);
    this.#root = null;
    this.overview.destroy();
    this.list.destroy();
  }
}
