// The days of a dataset with the state of each, updated by the live stream.

import { getCoverage } from "./api.js";
import { createLimiter } from "./limiter.js";
import { cachedRecords } from "./recordCache.js";
import { dayState } from "./states.js";

const limit = createLimiter(4); // browsers allow six connections to a server

export class Coverage {
  #byDay = new Map();

  constructor(response) {
    Object.assign(this, {
      dataset: response.dataset,
      from: response.from,
      to: response.to,
      firstDay: response.first_day,
      lastDay: response.last_day,
      days: response.days,
    });
    for (const day of response.days) {
      day.dataset = response.dataset;
      this.#byDay.set(day.day, day);
    }
  }

  /** Loads a coverage; without a range, that of the last 365 days. Throws a Problem. */
  static async load(dataset, from = null, to = null) {
    const coverage = new Coverage(await limit(() => getCoverage({ dataset, from, to })));
    coverage.update(cachedRecords());
    return coverage;
  }

  get(day) {
    return this.#byDay.get(day);
  }

  /** Applies the records of this dataset's days; returns the days that changed. */
  update(records) {
    const changed = [];
    for (const record of records) {
      const day =
        record.kind === "day" && record.dataset === this.dataset
          ? this.get(record.sync_date)
          : null;
      if (!day || (day.change ?? -1) >= record.change) continue;
      Object.assign(day, {
        state: dayState(record),
        rows: record.success_count,
        rows_rejected: record.failed_count,
        duration_seconds: record.duration_seconds,
        end_time: record.end_time,
        record_id: record.id,
        error_message: record.error_message,
        change: record.change,
        standing_rows: record.standing_rows,
        standing_since: record.standing_since,
        warning: record.warning,
      });
      changed.push(day);
    }
    return changed;
  }

  /** Returns the ranges of missing or failed days, as [first, last, state]. */
  gaps() {
    const gaps = [];
    let current = null;
    for (const { day, state } of this.days) {
      const isGap = state === "missing" || state === "failed";
      if (isGap && current && current[2] === state) current[1] = day;
      else if (isGap) gaps.push((current = [day, day, state]));
      if (!isGap) current = null;
    }
    return gaps;
  }
}
