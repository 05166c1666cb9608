// What is behind a record, its days and attempts, asked for again as they change: the days that were
// told of alone, or everything, one question at a time.

import { one, stretch } from "./api.js";
import { inTurns } from "./limiter.js";

const PAUSE = 1000; // milliseconds between two questions
const REST = 10; // times as long as reading everything took, until that is done again

export class Behind {
  #id;
  #guarded;
  #onAnswer;
  #days = new Map();
  #attempts = [];
  #told = null; // the first and last day that changed since they were read
  #all = false;
  #allowed = 0; // when everything may be read again
  #timer = 0;
  #inTurn = inTurns(1);
  #left = false;

  /** `onAnswer` gets `{record, days, attempts}`; a day that did not change is the same object. */
  constructor(id, guarded, onAnswer) {
    this.#id = id;
    this.#guarded = guarded;
    this.#onAnswer = onAnswer;
  }

  /** Reads everything. Throws a Problem. */
  load() {
    return this.#inTurn(() => this.#whole());
  }

  async #whole() {
    this.#told = null;
    this.#all = false;
    const began = performance.now();
    const found = await one(this.#id);
    if (this.#left) return;
    this.#days = merged(this.#days, found.days);
    this.#attempts = found.attempts;
    this.#give(found.record);
    this.#allowed = performance.now() + REST * (performance.now() - began);
  }

  /** These days changed; they are read soon. */
  tellDays(days) {
    for (const day of days) {
      const [first, last] = this.#told ?? [day, day];
      this.#told = [day < first ? day : first, day > last ? day : last];
    }
    if (days.length) this.#soon();
  }

  /** Something changed, of which is not known what. */
  tellAll() {
    this.#all = true;
    this.#soon();
  }

  /** Nothing is given any more. */
  leave() {
    this.#left = true;
    clearTimeout(this.#timer);
  }

  #soon() {
    if (this.#left) return;
    this.#timer ||= setTimeout(() => this.#guarded(() => this.#ask()), PAUSE);
  }

  async #ask() {
    const { told, all } = { told: this.#told, all: this.#all };
    try {
      if (all && performance.now() >= this.#allowed) await this.load();
      else if (told) await this.#inTurn(() => this.#part(...told));
      this.#timer = 0;
      if (this.#all || this.#told) this.#soon();
    } catch (problem) {
      this.#timer = 0; // it is asked again with the next that is told
      this.#all = true;
      throw problem;
    }
  }

  async #part(first, last) {
    this.#told = null;
    const found = await stretch(this.#id, first, last);
    if (this.#left) return;
    const isOf = (day) => day >= first && day <= last;
    const others = [...this.#days.values()].filter((day) => !isOf(day.sync_date));
    const days = [...others, ...found.days].sort((a, b) => (a.sync_date < b.sync_date ? -1 : 1));
    this.#days = merged(this.#days, days);
    const rest = this.#attempts.filter((each) => !isOf(each.sync_date));
    this.#attempts = [...found.attempts, ...rest];
    this.#give(found.record);
  }

  #give(record) {
    this.#onAnswer({ record, days: [...this.#days.values()], attempts: this.#attempts });
  }
}

/** The new days by their date; one that did not change stays the object that it was. */
function merged(before, days) {
  const same = (day) => {
    const old = before.get(day.sync_date);
    return old && Object.keys(day).every((name) => old[name] === day[name]) ? old : day;
  };
  return new Map(days.map((day) => [day.sync_date, same(day)]));
}
