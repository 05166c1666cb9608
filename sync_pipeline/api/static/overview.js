// How things stand: a sentence about all datasets, and a line for each with its days as a strip
// and the batches at work on it.

import { list } from "./api.js";
import { Bar, progressWords } from "./progressBar.js";
import { everySecond, paceWords } from "./clock.js";
import { Counts, countStates } from "./dayCounts.js";
import { Coverage } from "./coverage.js";
import { dayTip } from "./dayTooltip.js";
import { h, replace, setAttribute, setText } from "./dom.js";
import { range } from "./format.js";
import { t } from "./i18n.js";
import { isOlder, latest } from "./recordCache.js";
import { Strip } from "./dayStrip.js";
import { hideTip, showTip } from "./tooltip.js";

export class Overview {
  #lines = new Map();
  #running = new Map();
  #left = false;
  #stopTicking;

  constructor() {
    this.headline = h("h1", { tabindex: "-1" }, t("headline.loading"));
    this.element = h("div", { class: "overview" });
    this.#stopTicking = everySecond(() => this.#running.forEach((work) => work.tick()));
  }

  destroy() {
    this.#left = true;
    this.#stopTicking();
    hideTip();
  }

  /** Loads how every dataset stands. Throws a Problem. */
  async load(datasets) {
    const lines = datasets.map((each) => this.#lines.get(each.name) ?? new Line(each));
    this.#lines = new Map(lines.map((line) => [line.name, line]));
    const shown = lines.map((line) => line.element);
    if (shown.some((element, n) => element !== this.element.children[n])) {
      replace(this.element, shown);
    }
    while (this.element.children.length > shown.length) this.element.lastElementChild.remove();
    await Promise.all([this.#loadWork(), ...lines.map((line) => line.load())]);
    this.update([]);
  }

  async #loadWork() {
    const began = performance.now();
    const { records } = await list({ kind: "batch", status: "syncing", page: 1, page_size: 50 });
    const answered = new Set(records.map((record) => record.id));
    for (const [id, work] of this.#running) {
      // One that came over the stream since then is not in the answer, and stays.
      if (!answered.has(id) && work.receivedAt < began) this.#drop(id);
    }
    this.update(records.map(latest));
  }

  update(records) {
    for (const record of records) if (record.kind === "batch") this.#take(record);
    for (const line of this.#lines.values()) line.update(records);
    this.#sum();
  }

  #take(record) {
    const work = this.#running.get(record.id);
    if (record.status !== "syncing") {
      this.#drop(record.id);
    } else if (work) {
      work.update(record);
    } else if (this.#lines.has(record.dataset)) {
      const begun = new Work(record);
      this.#running.set(record.id, begun);
      this.#lines.get(record.dataset).work.append(begun.element);
    }
  }

  #drop(id) {
    this.#running.get(id)?.element.remove();
    this.#running.delete(id);
  }

  #sum() {
    if (this.#left || [...this.#lines.values()].some((line) => !line.coverage)) return;
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
  coverage = null;
  counts = {};

  constructor({ name, description }) {
    this.name = name;
    const address = `/sync-status/calendar?dataset=${encodeURIComponent(name)}`;
    this.link = h("a", { class: "days", href: address, "aria-label": name });
    this.link.addEventListener("pointermove", (event) => this.#point(event));
    this.link.addEventListener("pointerleave", hideTip);
    this.ends = h("div", { class: "ends second" });
    this.words = new Counts();
    this.work = h("div", { class: "works" });
    this.element = h(
      "section",
      { class: "line", "aria-label": name },
      h("h2", {}, name, description ? h("span", { class: "second" }, description) : null),
      h("div", { class: "span" }, this.link, this.ends),
      this.words.element,
      this.work,
    );
  }

  /** Loads its days, in place. Throws a Problem. */
  async load() {
    this.coverage = await Coverage.of(this.name);
    this.strip = new Strip(this.coverage.days);
    replace(this.link, this.strip.element);
    const { from, to } = this.coverage;
    replace(this.ends, h("span", {}, from), h("span", {}, to));
    this.#count();
  }

  update(records) {
    if (!this.coverage?.take(records).length) return;
    this.strip.draw();
    this.#count();
  }

  #count() {
    this.counts = countStates(this.coverage.days);
    const counts = this.words.update(this.counts);
    const label = t("strip.label", { dataset: this.name, counts });
    setAttribute(this.link, "aria-label", label);
  }

  #point(event) {
    if (event.pointerType === "touch" || !this.strip) return;
    const at = event.clientX - this.link.getBoundingClientRect().left;
    showTip(this.link, dayTip(this.strip.dayAt(at)), at);
  }
}

/** One batch at work. */
class Work {
  record = null;

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
    if (isOlder(record, this.record)) return;
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
