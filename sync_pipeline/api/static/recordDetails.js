// Loads the days and attempts of a record, and loads them again when they change: only the days
// that changed, or everything, one request at a time.

import { getBatchDays, getRecord } from "./api.js";
import { createLimiter } from "./limiter.js";

const REFRESH_DELAY = 1000; // milliseconds between two requests
const RELOAD_PAUSE_FACTOR = 10; // after loading everything, wait this many times as long

export class RecordDetails {
  #id;
  #catchProblem;
  #onLoaded;
  #days = new Map();
  #attempts = [];
  #changedRange = null; // the first and last day that changed since they were loaded
  #reloadAll = false;
  #reloadAllowedAt = 0;
  #timer = 0;
  #limit = createLimiter(1);
  #left = false;

  /** `onLoaded` gets `{record, days, attempts}`; a day that did not change is the same object. */
  constructor(id, catchProblem, onLoaded) {
    this.#id = id;
    this.#catchProblem = catchProblem;
    this.#onLoaded = onLoaded;
  }

  /** Loads everything. Throws a Problem. */
  load() {
    return this.#limit(() => this.#loadAll());
  }

  async #loadAll() {
    this.#changedRange = null;
    this.#reloadAll = false;
    const startedAt = performance.now();
    const found = await getRecord(this.#id);
    if (this.#left) return;
    this.#days = mergeDays(this.#days, found.days);
    this.#attempts = found.attempts;
    this.#publish(found.record);
    const took = performance.now() - startedAt;
    this.#reloadAllowedAt = performance.now() + RELOAD_PAUSE_FACTOR * took;
  }

  /** Loads these days again soon, because they changed. */
  refreshDays(days) {
    for (const day of days) {
      const [first, last] = this.#changedRange ?? [day, day];
      this.#changedRange = [day < first ? day : first, day > last ? day : last];
    }
    if (days.length) this.#schedule();
  }

  /** Loads everything again soon, because it is not known what changed. */
  refreshAll() {
    this.#reloadAll = true;
    this.#schedule();
  }

  /** Stops loading and publishing. */
  leave() {
    this.#left = true;
    clearTimeout(this.#timer);
  }

  #schedule() {
    if (this.#left) return;
    this.#timer ||= setTimeout(() => this.#catchProblem(() => this.#refresh()), REFRESH_DELAY);
  }

  async #refresh() {
    const range = this.#changedRange;
    try {
      if (this.#reloadAll && performance.now() >= this.#reloadAllowedAt) await this.load();
      else if (range) await this.#limit(() => this.#loadRange(...range));
      this.#timer = 0;
      if (this.#reloadAll || this.#changedRange) this.#schedule();
    } catch (problem) {
      this.#timer = 0; // the next change schedules a refresh again
      this.#reloadAll = true;
      throw problem;
    }
  }

  async #loadRange(first, last) {
    this.#changedRange = null;
    const found = await getBatchDays(this.#id, first, last);
    if (this.#left) return;
    const isInRange = (day) => day >= first && day <= last;
    const otherDays = [...this.#days.values()].filter((day) => !isInRange(day.sync_date));
    const days = [...otherDays, ...found.days].sort((a, b) =>
      a.sync_date < b.sync_date ? -1 : 1,
    );
    this.#days = mergeDays(this.#days, days);
    const otherAttempts = this.#attempts.filter((each) => !isInRange(each.sync_date));
    this.#attempts = [...found.attempts, ...otherAttempts];
    this.#publish(found.record);
  }

  #publish(record) {
    this.#onLoaded({ record, days: [...this.#days.values()], attempts: this.#attempts });
  }
}

/** Returns the new days by date, keeping the previous object of a day that did not change. */
function mergeDays(before, days) {
  const keepUnchanged = (day) => {
    const old = before.get(day.sync_date);
    return old && Object.keys(day).every((name) => old[name] === day[name]) ? old : day;
  };
  return new Map(days.map((day) => [day.sync_date, keepUnchanged(day)]));
}
