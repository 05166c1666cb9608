// How things stand: a sentence about all datasets, and a line for each with its days as a strip
// and the batches at work on it.

import { list } from "./api.js";
import { Bar, progressWords } from "./bar.js";
import { everySecond, paceWords } from "./clock.js";
import { Counts, countStates } from "./counts.js";
import { Coverage } from "./coverage.js";
import { dayTip } from "./daytip.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { range } from "./format.js";
import { t } from "./i18n.js";
import { latest } from "./latest.js";
import { Strip } from "./strip.js";
import { hideTip, showTip } from "./tooltip.js";

export class Overview {
  #lines = new Map();
  #running = new Map();
  #stopTicking;

  constructor() {
    this.headline = h("h1", { tabindex: "-1" }, t("headline.loading"));
    this.element = h("div", { class: "overview" });
    this.#stopTicking = everySecond(() => this.#running.forEach((work) => work.tick()));
  }

  destroy() {
    this.#stopTicking();
    hideTip();
  }

  /** Loads how every dataset stands. Throws a Problem. */
  async load(datasets) {
    const [work, ...covered] = await Promise.all([
      list({ kind: "batch", status: "syncing", page: 1, page_size: 50 }),
      ...datasets.map((each) => Coverage.of(each.name)),
    ]);
    this.#lines = new Map(covered.map((each, n) => [each.dataset, new Line(each, datasets[n])]));
    this.#running.clear();
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    replace(
      this.element,
      [...this.#lines.values()].map((line) => line.element),
    );
    this.update(work.records.map(latest));
    const address = focused?.getAttribute("href");
    if (address) this.element.querySelector(`a[href="${CSS.escape(address)}"]`)?.focus();
  }

  update(records) {
    for (const record of records) if (record.kind === "batch") this.#take(record);
    for (const line of this.#lines.values()) line.update(records);
    this.#sum();
  }

  #take(record) {
    const work = this.#running.get(record.id);
    if (record.status !== "syncing") {
      work?.element.remove();
      this.#running.delete(record.id);
    } else if (work) {
      work.update(record);
    } else if (this.#lines.has(record.dataset)) {
      const begun = new Work(record);
      this.#running.set(record.id, begun);
      this.#lines.get(record.dataset).work.append(begun.element);
    }
  }

  #sum() {
    const sums = { missing: 0, failed: 0 };
    for (const { counts } of this.#lines.values()) {
      for (const name of Object.keys(sums)) sums[name] += counts[name] ?? 0;
    }
    const running = this.#running.size;
    setText(this.headline, t("headline", { ...sums, running, datasets: this.#lines.size }));
    const [work] = this.#running.values();
    const percent = work && running === 1 ? `${Math.floor(work.record.percent ?? 0)}% ` : "";
    document.title = (running ? `▸ ${percent}` : sums.failed ? "✕ " : "") + t("app");
  }
}

/** One dataset. */
class Line {
  constructor(coverage, dataset) {
    this.coverage = coverage;
    this.counts = countStates(coverage.days);
    this.strip = new Strip(coverage.days);
    this.link = h(
      "a",
      {
        class: "days",
        href: `/sync-status/calendar?dataset=${encodeURIComponent(coverage.dataset)}`,
      },
      this.strip.element,
    );
    this.link.addEventListener("pointermove", (event) => this.#point(event));
    this.link.addEventListener("pointerleave", hideTip);
    this.words = new Counts();
    this.work = h("div", { class: "works" });
    this.element = h(
      "section",
      { class: "line", "aria-label": coverage.dataset },
      h(
        "h2",
        {},
        coverage.dataset,
        dataset.description ? h("span", { class: "second" }, dataset.description) : null,
      ),
      h("div", { class: "span" }, this.link, this.#ends()),
      this.words.element,
      this.work,
    );
    this.#count();
  }

  #ends() {
    return h(
      "div",
      { class: "ends second" },
      h("span", {}, this.coverage.from),
      h("span", {}, this.coverage.to),
    );
  }

  update(records) {
    const changed = this.coverage.take(records);
    changed.forEach((day) => this.strip.update(day));
    if (changed.length) this.#count();
  }

  #count() {
    this.counts = countStates(this.coverage.days);
    const counts = this.words.update(this.counts);
    const label = t("strip.label", { dataset: this.coverage.dataset, counts });
    setAttribute(this.link, "aria-label", label);
  }

  #point(event) {
    if (event.pointerType === "touch") return;
    const at = event.clientX - this.link.getBoundingClientRect().left;
    showTip(this.link, dayTip(this.strip.dayAt(at)), at);
  }
}

/** One batch at work. */
class Work {
  constructor(record) {
    this.bar = new Bar(t("progress.label", { what: record.dataset }));
    this.words = h("span", { class: "words" });
    this.pace = h("span", { class: "pace" });
    this.element = h(
      "div",
      { class: "work", "data-id": record.id },
      h("a", { href: `/sync-status/${record.id}` }, range(record.start_date, record.end_date)),
      this.bar.element,
      this.words,
      this.pace,
    );
    this.update(record);
  }

  update(record) {
    if (this.record && record.change < this.record.change) return;
    this.record = record;
    this.receivedAt = performance.now();
    this.bar.update(record);
    setText(this.words, progressWords(record));
    this.tick();
  }

  tick() {
    const { time, speed } = paceWords(this.record, this.receivedAt);
    setText(this.pace, [speed, time].filter(Boolean).join(t("separator")));
  }
}
