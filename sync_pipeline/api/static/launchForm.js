// The form that launches a batch. It reads as a sentence.

import { launch, newKey } from "./api.js";
import { nameOf } from "./recordActions.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { daysBetween } from "./format.js";
import { t } from "./i18n.js";
import { Preview } from "./preview.js";
import { daysWords, problemWords } from "./problems.js";

const FIELDS = ["dataset", "start_date", "end_date", "already_synced"];
let count = 0;

export class Launch {
  #app;
  #datasets;
  #onChange;
  #onLaunched;
  #errors = {};
  #sent = { body: null, key: null };
  #busy = false;

  /** `onChange` gets each new request, complete or null. `onLaunched` gets the new record. */
  constructor(app, datasets, { onChange = () => {}, onLaunched = () => {} } = {}) {
    this.#app = app;
    this.#datasets = datasets;
    this.#onChange = onChange;
    this.#onLaunched = onLaunched;
    this.id = `launch-${(count += 1)}`;
    this.preview = new Preview((answer, problem) => this.#onPreview(answer, problem));
    this.button = h("button", { class: "primary", type: "submit" }, t("launch.button"));
    this.element = h("form", {
      class: "launch",
      "aria-label": t("launch.label"),
      novalidate: true,
    });
    this.element.append(...this.#fields());
    this.element.addEventListener("submit", (event) => this.#submit(event));
    this.element.addEventListener("change", () => this.changed());
    this.#limit();
    this.preview.show(null);
  }

  /** Takes in the datasets as they are now, with their new days; what is filled in stays. */
  refresh(datasets) {
    if (JSON.stringify(datasets) === JSON.stringify(this.#datasets)) return;
    this.#datasets = datasets;
    const { value } = this.dataset;
    replace(this.dataset, this.#options());
    if (datasets.some((each) => each.name === value)) this.dataset.value = value;
    this.changed();
  }

  #options() {
    return this.#datasets.map((each) => h("option", { value: each.name }, each.name));
  }

  #fields() {
    this.dataset = h("select", { name: "dataset" }, this.#options());
    this.from = h("input", { type: "date", name: "start_date", autocomplete: "off" });
    this.to = h("input", { type: "date", name: "end_date", autocomplete: "off" });
    this.again = h(
      "select",
      { name: "already_synced" },
      h("option", { value: "skip" }, t("launch.skip")),
      h("option", { value: "resync" }, t("launch.resync")),
    );
    return [
      this.#field("dataset", this.dataset),
      this.#field("start_date", this.from),
      this.#field("end_date", this.to),
      this.#field("already_synced", this.again),
      h("div", { class: "go" }, this.button),
      h("div", { class: "means" }, this.preview.element, this.#error("form", "alert")),
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

  /** Writes a range of days into the form; empty days empty it. */
  set({ dataset, first, last, resync = null }) {
    this.dataset.value = dataset;
    this.from.value = first;
    this.to.value = last;
    if (resync !== null) this.again.value = resync ? "resync" : "skip";
    this.changed();
  }

  /** The request in the form, or null while it is not complete. */
  request() {
    if (!this.dataset.value || !this.from.value || !this.to.value) return null;
    return {
      dataset: this.dataset.value,
      start_date: this.from.value,
      end_date: this.to.value,
      already_synced: this.again.value,
    };
  }

  changed() {
    this.#limit();
    this.#say(null);
    if (this.request() === null) setText(this.button, t("launch.button"));
    this.preview.show(this.request());
    this.#onChange(this.request());
  }

  #chosen() {
    return this.#datasets.find((each) => each.name === this.dataset.value);
  }

  /** Lets the browser's calendar offer only days that the dataset has. */
  #limit() {
    const dataset = this.#chosen();
    for (const input of [this.from, this.to]) {
      setAttribute(input, "min", dataset?.first_day ?? null);
      setAttribute(input, "max", dataset?.last_day ?? null);
    }
  }

  #onPreview(answer, problem) {
    this.#say(problem);
    const n = answer?.days.to_sync;
    setText(this.button, n ? t("launch.buttonDays", { n }) : t("launch.button"));
  }

  async #submit(event) {
    event.preventDefault();
    const request = this.request();
    if (request === null) {
      const empty = [this.from, this.to].find((input) => !input.value) ?? this.dataset;
      this.#say({ field: empty.name, message: t("launch.dateMissing") });
      return empty.focus();
    }
    if (this.#busy) return;
    this.#busy = true;
    this.button.classList.add("busy");
    try {
      const { record } = await launch(request, this.#keyOf(request));
      this.#sent = { body: null, key: null };
      const n = daysBetween(request.start_date, request.end_date);
      this.#app.say(t("launch.done", { what: nameOf(record), n }));
      this.#app.onRecords([record]);
      this.set({ dataset: request.dataset, first: "", last: "" });
      this.#onLaunched(record);
    } catch (problem) {
      this.#say(problem);
      this.element.querySelector('[aria-invalid="true"]')?.focus();
    } finally {
      this.#busy = false;
      this.button.classList.remove("busy");
    }
  }

  /** The same request, sent again after it got no answer, is not to launch a second batch. */
  #keyOf(request) {
    const body = JSON.stringify(request);
    if (this.#sent.body !== body) this.#sent = { body, key: newKey() };
    return this.#sent.key;
  }

  /** Shows a problem beside the field that it names; none clears them. */
  #say(problem) {
    const at = problem && FIELDS.includes(problem.field) ? problem.field : "form";
    for (const [name, element] of Object.entries(this.#errors)) {
      const shown = problem !== null && name === at;
      element.hidden = !shown; // before its words: an alert that is hidden is not read out
      replace(element, shown ? this.#words(problem) : null);
      const input = this.element.elements[name];
      if (input) setAttribute(input, "aria-invalid", shown ? "true" : null);
    }
  }

  #words(problem) {
    const request = this.request();
    return request ? daysWords(problem, request, this.#chosen()) : problemWords(problem);
  }
}
