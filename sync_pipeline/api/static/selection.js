// The days selected on a calendar: a range of one dataset, from an anchor to a moving end.

export class Selection {
  #listeners = [];
  dataset = null;
  anchor = null;
  end = null;

  onChange(listener) {
    this.#listeners.push(listener);
  }

  get first() {
    return this.anchor < this.end ? this.anchor : this.end;
  }

  get last() {
    return this.anchor < this.end ? this.end : this.anchor;
  }

  get isEmpty() {
    return this.anchor === null;
  }

  has(dataset, day) {
    return (
      this.anchor !== null && dataset === this.dataset && day >= this.first && day <= this.last
    );
  }

  /** Whether a launch request, which may be null, is for exactly the selected days. */
  equals(request) {
    return (
      request !== null &&
      request.dataset === this.dataset &&
      request.start_date === this.first &&
      request.end_date === this.last
    );
  }

  /** Selects a range of days, or one day. */
  set(dataset, anchor, end = anchor) {
    if (dataset === this.dataset && anchor === this.anchor && end === this.end) return;
    Object.assign(this, { dataset, anchor, end });
    this.#notify();
  }

  /** Extends the selection to `day`; without a selection, selects from `from` to `day`. */
  extend(dataset, day, from = day) {
    this.set(dataset, this.anchor !== null && dataset === this.dataset ? this.anchor : from, day);
  }

  clear() {
    if (this.anchor === null) return;
    Object.assign(this, { dataset: null, anchor: null, end: null });
    this.#notify();
  }

  #notify() {
    for (const listener of this.#listeners) listener();
  }
}
