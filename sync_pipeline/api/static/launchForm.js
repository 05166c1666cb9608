// The form that launches a batch.

import { launchBatch, newIdempotencyKey } from "./api.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { countDays } from "./format.js";
import { t } from "./i18n.js";
import { Preview } from "./preview.js";
import { describeLaunchProblem, describeProblem } from "./problems.js";
import { recordName } from "./recordActions.js";

const FIELDS = ["dataset", "start_date", "end_date", "already_synced"];
let count = 0;

export class LaunchForm {
  #app;
  #datasets;
  #onChange;
  #onLaunched;
  #errors = {};
  #sent = { body: null, key: null };
  #busy = false;

  /** `onChange` gets each new request, or null if it is incomplete; `onLaunched` the new record. */
  constructor(app, datasets, { onChange = () => {}, onLaunched = () => {} } = {}) {
    this.#app = app;
    this.#datasets = datasets;
    this.#onChange = onChange;
    this.#onLaunched = onLaunched;
    this.id = `launch-${(count += 1)}`;
    this.preview = new Preview((response, problem) => this.#onPreview(response, problem));
    this.button = h("button", { class: "primary", type: "submit" }, t("launch.button"));
    this.element = h("form", {
      class: "launch",
      "aria-label": t("launch.label"),
      novalidate: true,
    });
    this.element.append(...this.#fields());
    this.element.addEventListener("submit", (event) => this.#submit(event));
    this.element.addEventListener("change", () => this.#onInput());
    this.#limitDates();
    this.preview.show(null);
  }

  /** Updates the datasets and their available days, and keeps what the user has filled in. */
  refresh(datasets) {
    if (JSON.stringify(datasets) === JSON.stringify(this.#datasets)) return;
    this.#datasets = datasets;
    const { value } = this.dataset;
    replace(this.dataset, this.#options());
    if (datasets.some((each) => each.name === value)) this.dataset.value = value;
    this.#onInput();
  }

  #options() {
    return this.#datasets.map((each) => h("option", { value: each.name }, each.name));
  }

  #fields() {
    this.dataset = h("select", { name: "dataset" }, this.#options());
    this.startDate = h("input", { type: "date", name: "start_date", autocomplete: "off" });
    this.endDate = h("input", { type: "date", name: "end_date", autocomplete: "off" });
    this.alreadySynced = h(
      "select",
      { name: "already_synced" },
      h("option", { value: "skip" }, t("launch.skip")),
      h("option", { value: "resync" }, t("launch.resync")),
    );
    return [
      this.#field("dataset", this.dataset),
      this.#field("start_date", this.startDate),
      this.#field("end_date", this.endDate),
      this.#field("already_synced", this.alreadySynced),
      h("div", { class: "submit" }, this.button),
      h("div", { class: "result" }, this.preview.element, this.#error("form", "alert")),
    ];
  }

  #field(name, input) {
    input.id = `${this.id}-${name}`;
    input.setAttribute("aria-describedby", `${this.id}-${name}-error`);
    return h(
      "div",
      { class: `field ${name}` },
      h("label", { for: input.id }, t(`launch.${name}`)),
      input,
      this.#error(name),
    );
  }

  #error(name, role = null) {
    const error = h("p", {
      class: "error",
      id: `${this.id}-${name}-error`,
      role,
      hidden: true,
    });
    this.#errors[name] = error;
    return error;
  }

  /** Fills in a dataset and a day range; empty strings clear the range. */
  set({ dataset, first, last }) {
    this.dataset.value = dataset;
    this.startDate.value = first;
    this.endDate.value = last;
    this.#onInput();
  }

  /** Returns the request that is filled in, or null if it is incomplete. */
  request() {
    if (!this.dataset.value || !this.startDate.value || !this.endDate.value) return null;
    return {
      dataset: this.dataset.value,
      start_date: this.startDate.value,
      end_date: this.endDate.value,
      already_synced: this.alreadySynced.value,
    };
  }

  #onInput() {
    this.#limitDates();
    this.#showProblem(null);
    if (this.request() === null) setText(this.button, t("launch.button"));
    this.preview.show(this.request());
    this.#onChange(this.request());
  }

  #selectedDataset() {
    return this.#datasets.find((each) => each.name === this.dataset.value);
  }

  /** Limits the date pickers to the days that the dataset has. */
  #limitDates() {
    const dataset = this.#selectedDataset();
    for (const input of [this.startDate, this.endDate]) {
      setAttribute(input, "min", dataset?.first_day ?? null);
      setAttribute(input, "max", dataset?.last_day ?? null);
    }
  }

  #onPreview(response, problem) {
    this.#showProblem(problem);
    const n = response?.days.to_sync;
    setText(this.button, n ? t("launch.buttonDays", { n }) : t("launch.button"));
  }

  async #submit(event) {
    event.preventDefault();
    const request = this.request();
    if (request === null) {
      const empty = [this.startDate, this.endDate].find((input) => !input.value) ?? this.dataset;
      this.#showProblem({ field: empty.name, message: t("launch.dateMissing") });
      return empty.focus();
    }
    if (this.#busy) return;
    this.#busy = true;
    this.button.classList.add("busy");
    try {
      const { record } = await launchBatch(request, this.#keyOf(request));
      this.#sent = { body: null, key: null };
      const n = countDays(request.start_date, request.end_date);
      this.#app.notify(t("launch.done", { what: recordName(record), n }));
      this.#app.onRecords([record]);
      this.set({ dataset: request.dataset, first: "", last: "" });
      this.#onLaunched(record);
    } catch (problem) {
      this.#showProblem(problem);
      this.element.querySelector('[aria-invalid="true"]')?.focus();
    } finally {
      this.#busy = false;
      this.button.classList.remove("busy");
    }
  }

  /** Returns the same key for the same request, so that sending it again launches no second batch. */
  #keyOf(request) {
    const body = JSON.stringify(request);
    if (this.#sent.body !== body) this.#sent = { body, key: newIdempotencyKey() };
    return this.#sent.key;
  }

  /** Shows a problem next to the field that it names, or below the form; null clears it. */
  #showProblem(problem) {
    const target = problem && FIELDS.includes(problem.field) ? problem.field : "form";
    for (const [name, element] of Object.entries(this.#errors)) {
      const shown = problem !== null && name === target;
      element.hidden = !shown; // before its text is set: screen readers ignore a hidden alert
      replace(element, shown ? this.#describe(problem) : null);
      const input = this.element.elements[name];
      if (input) setAttribute(input, "aria-invalid", shown ? "true" : null);
    }
  }

  #describe(problem) {
    const request = this.request();
    return request
      ? describeLaunchProblem(problem, request, this.#selectedDataset())
      : describeProblem(problem);
  }
}
