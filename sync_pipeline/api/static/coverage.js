// The days of a dataset and what is known of each, kept in step with the live stream.

import { coverage } from "./api.js";
import { noted } from "./recordCache.js";
import { dayState } from "./states.js";
import { inTurns } from "./limiter.js";

const inTurn = inTurns(4); // however many datasets there are: a browser allows six connections

export class Coverage {
  #byDay = new Map();

  constructor(answer) {
    Object.assign(this, {
      dataset: answer.dataset,
      from: answer.from,
      to: answer.to,
      firstDay: answer.first_day,
      lastDay: answer.last_day,
      days: answer.days,
    });
    for (const day of answer.days) {
      day.dataset = answer.dataset;
      this.#byDay.set(day.day, day);
    }
  }

  /** Asks the API; without a range, for the last 365 days. Throws a Problem. */
  static async of(dataset, from = null, to = null) {
    const made = new Coverage(await inTurn(() => coverage({ dataset, from, to })));
    made.take(noted());
    return made;
  }

  get(day) {
    return this.#byDay.get(day);
  }

  /** Takes in the records of days of this dataset; returns the days that they changed. */
  take(records) {
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
      });
      changed.push(day);
    }
    return changed;
  }

  /** Stretches of days that are missing or failed, as [first, last, state]. */
  gaps() {
    const found = [];
    let open = null;
    for (const { day, state } of this.days) {
      const isGap = state === "missing" || state === "failed";
      if (isGap && open && open[2] === state) open[1] = day;
      else if (isGap) found.push((open = [day, day, state]));
      if (!isGap) open = null;
    }
    return found;
  }
}
