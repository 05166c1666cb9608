// The start page: the overview of the datasets, the launch form, and the list of records.

import { h, replace } from "./dom.js";
import { Filters } from "./filters.js";
import { t } from "./i18n.js";
import { LaunchForm } from "./launchForm.js";
import { parseQuery, toUrlParameters } from "./listQuery.js";
import { Overview } from "./overview.js";
import { describeProblem } from "./problems.js";
import { RecordList } from "./recordList.js";

const RETRY_DELAY = 10_000; // milliseconds

export class RecordsPage {
  #app;
  #datasets = [];
  #root = null;
  #retryTimer = 0;
  form = null;

  constructor(app) {
    this.#app = app;
    this.query = parseQuery(new URLSearchParams(location.search));
    this.overview = new Overview();
    this.list = new RecordList(app, this.query);
    this.datasetsProblem = h("p", { class: "error block", hidden: true });
  }

  /** Loads and shows everything. Throws a Problem. */
  async show(root, restored) {
    this.#root = root;
    await this.#loadDatasets();
    if (this.#root !== root) return; // the user left the page meanwhile
    this.filters = new Filters(this.query, this.#datasets, (query) => this.#onQuery(query));
    root.replaceChildren(
      this.overview.headline,
      this.datasetsProblem,
      this.overview.element,
      ...this.#launchPanel(),
      this.#recordsSection(),
    );
    await Promise.all([
      this.overview.load(this.#datasets),
      this.list.load(this.query, restored?.loaded ?? 0),
    ]);
  }

  /** Loads the datasets. If Dagster has been unavailable so far, shows the records without them. */
  async #loadDatasets() {
    try {
      this.#datasets = await this.#app.listDatasets();
      this.datasetsProblem.hidden = true;
    } catch (problem) {
      if (problem.status < 500) throw problem;
      replace(this.datasetsProblem, describeProblem(problem));
      this.datasetsProblem.hidden = false;
      clearTimeout(this.#retryTimer);
      const retry = () => this.#app.catchProblem(() => this.reload());
      this.#retryTimer = setTimeout(retry, RETRY_DELAY);
    }
  }

  #launchPanel() {
    if (!this.#app.canLaunch() || !this.#datasets.length) return [];
    this.form = new LaunchForm(this.#app, this.#datasets);
    return [h("section", { class: "panel", "aria-label": t("launch.label") }, this.form.element)];
  }

  #recordsSection() {
    const head = h(
      "div",
      { class: "head" },
      h("h2", { id: "records" }, t("list.title")),
      this.filters.element,
    );
    return h("section", { "aria-labelledby": "records" }, head, this.list.element);
  }

  async #onQuery(query) {
    const parameters = toUrlParameters(query);
    history.replaceState(history.state, "", `/sync-status${parameters && `?${parameters}`}`);
    this.query = query;
    await this.#app.catchProblem(() => this.list.load(query));
  }

  onRecords(records) {
    this.overview.update(records);
    this.list.update(records);
  }

  /** Loads everything again, in place. Throws a Problem. */
  async reload() {
    if (!this.#root) return;
    if (!this.#datasets.length) return this.show(this.#root, this.state());
    await this.#loadDatasets();
    if (!this.#root) return;
    this.form?.refresh(this.#datasets);
    this.filters.refresh(this.#datasets);
    await Promise.all([this.overview.load(this.#datasets), this.list.load()]);
  }

  /** Returns the history state with which `show` restores the page. */
  state() {
    return { loaded: this.list.loaded };
  }

  leave() {
    clearTimeout(this.#retryTimer);
    this.#root = null;
    this.overview.destroy();
    this.list.destroy();
  }
}
