// The days that are selected on a calendar: one stretch of one dataset, from an anchor to a head.

export class Selection {
  #listeners = [];
  dataset = null;
  anchor = null;
  head = null;

  onChange(listener) {
    this.#listeners.push(listener);
  }

  get first() {
    return this.anchor < this.head ? this.anchor : this.head;
  }

  get last() {
    return this.anchor < this.head ? this.head : this.anchor;
  }

  get isEmpty() {
    return this.anchor === null;
  }

  has(dataset, day) {
    return (
      this.anchor !== null && dataset === this.dataset && day >= this.first && day <= this.last
    );
  }

  /** Whether a request is for exactly these days. */
  is(request) {
    return (
      request !== null &&
      request.dataset === this.dataset &&
      request.start_date === this.first &&
      request.end_date === this.last
    );
  }

  /** Selects from one day to another. */
  set(dataset, anchor, head = anchor) {
    if (dataset === this.dataset && anchor === this.anchor && head === this.head) return;
    Object.assign(this, { dataset, anchor, head });
    this.#tell();
  }

  /** Selects from where the selection began to this day; this day alone if there is none. */
  extend(dataset, day, from = day) {
    this.set(dataset, this.anchor !== null && dataset === this.dataset ? this.anchor : from, day);
  }

  clear() {
    if (this.anchor === null) return;
    Object.assign(this, { dataset: null, anchor: null, head: null });
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}
