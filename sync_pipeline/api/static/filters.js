// The filter form above the record list.

import { debounce, h, replace, setAttribute } from "./dom.js";
import { t } from "./i18n.js";
import { DEFAULTS, KINDS, SORTS, STATUSES, isFiltered } from "./listQuery.js";

const TYPING_DELAY = 300; // milliseconds

/** The form of a query. Calls `onChange` with the query whenever it changes. */
export class Filters {
  #datasets;
  #onChange;
  #setDebounced = debounce((change) => this.#set(change), TYPING_DELAY);

  constructor(query, datasets, onChange) {
    this.query = query;
    this.element = h("form", { class: "filters", role: "search", "aria-label": t("filter.label") });
    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.#onChange = onChange;
    this.#datasets = datasets;
    this.#build();
  }

  #set(change) {
    this.query = { ...this.query, ...change };
    this.clear.hidden = !isFiltered(this.query);
    this.#onChange(this.query);
  }

  /** Updates the list of datasets. */
  refresh(datasets) {
    this.#datasets = datasets;
    const select = this.element.querySelector('select[name="dataset"]');
    const names = this.#names();
    if ([...select.options].map((each) => each.value).join() === names.join()) return;
    replace(select, this.#options("dataset", names, datasetLabel));
  }

  #build() {
    const more = h("div", { class: "more", id: "more-filters" }, this.#fields());
    const toggle = h(
      "button",
      {
        type: "button",
        class: "plain small toggle",
        "aria-expanded": "false",
        "aria-controls": "more-filters",
      },
      t("filter.toggle"),
    );
    toggle.addEventListener("click", () => {
      const open = more.classList.toggle("open");
      setAttribute(toggle, "aria-expanded", String(open));
    });
    this.clear = h(
      "button",
      { type: "button", class: "plain small", hidden: !isFiltered(this.query) },
      t("filter.clear"),
    );
    this.clear.addEventListener("click", () => {
      this.query = { ...DEFAULTS, sort: this.query.sort };
      this.#build();
      this.#onChange(this.query);
      this.element.querySelector("input").focus();
    });
    replace(this.element, this.#kinds(), this.#statuses(), toggle, more, this.clear);
  }

  #kinds() {
    return h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "visually-hidden" }, t("filter.kind")),
      KINDS.map((kind) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: "kind",
            value: kind,
            checked: this.query.kind === kind,
            onchange: () => this.#set({ kind }),
          }),
          h("span", {}, t(`kind.${kind}`)),
        ),
      ),
    );
  }

  #statuses() {
    return h(
      "fieldset",
      { class: "chips" },
      h("legend", { class: "visually-hidden" }, t("filter.status")),
      STATUSES.map((status) =>
        h(
          "label",
          { class: status },
          h("input", {
            type: "checkbox",
            name: "status",
            value: status,
            checked: this.query.status.includes(status),
            onchange: () => this.#set({ status: this.#checked() }),
          }),
          h("span", {}, t(`state.${status}`)),
        ),
      ),
    );
  }

  #checked() {
    const boxes = this.element.querySelectorAll('input[name="status"]:checked');
    return [...boxes].map((box) => box.value);
  }

  #names() {
    const names = [...this.#datasets.map((each) => each.name), this.query.dataset];
    return ["", ...new Set(names.filter(Boolean))];
  }

  #fields() {
    return [
      this.#select("dataset", this.#names(), datasetLabel),
      this.#input("from", "date", {}, "change"),
      this.#input("to", "date", {}, "change"),
      this.#input("q", "search", { placeholder: t("filter.placeholder"), maxlength: 100 }, "input"),
      this.#select("sort", SORTS, (name) => t(`sort.${name}`)),
    ];
  }

  #select(name, values, labelOf) {
    const select = h(
      "select",
      { name, onchange: (event) => this.#set({ [name]: event.target.value }) },
      this.#options(name, values, labelOf),
    );
    return h("label", { class: `field ${name}` }, h("span", {}, t(`filter.${name}`)), select);
  }

  #options(name, values, labelOf) {
    return values.map((value) =>
      h("option", { value, selected: this.query[name] === value }, labelOf(value)),
    );
  }

  #input(name, type, attributes, event) {
    const input = h("input", {
      name,
      type,
      value: this.query[name],
      autocomplete: "off",
      ...attributes,
    });
    input.addEventListener(event, () => {
      const change = { [name]: input.value };
      if (event === "input") this.#setDebounced(change);
      else this.#set(change);
    });
    return h("label", { class: `field ${name}` }, h("span", {}, t(`filter.${name}`)), input);
  }
}

const datasetLabel = (name) => name || t("filter.allDatasets");
