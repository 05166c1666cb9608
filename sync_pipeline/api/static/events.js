// The live stream: one connection, made again whenever it is lost, with no change left out.

import { eventsAddress } from "./api.js";

const FIRST_PAUSE = 500; // milliseconds, doubled with each try
const LONGEST_PAUSE = 10_000;
const GATHER = 100; // a fast batch changes its record far more often than an eye can follow
const HIDDEN_TOO_LONG = 5 * 60_000; // a browser allows six connections to a server, for all tabs

/**
 * Calls `onRecords` with the records that changed, each once and in its latest form; `onReload`
 * when what is on the page may be out of date in ways the stream does not say; and `onState` with
 * "live" or "lost".
 */
export class Events {
  #source = null;
  #last = null;
  #pause = FIRST_PAUSE;
  #retry = 0;
  #hidden = 0;
  #gathered = new Map();
  #timer = 0;
  #on;

  constructor(on) {
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    window.addEventListener("online", () => this.start());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.start());
  }

  /** Connects, or connects anew. */
  start() {
    this.stop();
    const source = new EventSource(eventsAddress(this.#last));
    const fromHereOn = this.#last === null;
    source.addEventListener("open", () => {
      this.#pause = FIRST_PAUSE;
      this.#on.onState("live");
      if (fromHereOn) this.#on.onReload();
    });
    source.addEventListener("record", (event) => this.#gather(event));
    source.addEventListener("reset", (event) => {
      this.#last = event.lastEventId || null;
      this.#on.onReload();
    });
    source.addEventListener("error", () => this.#lost());
    this.#source = source;
  }

  stop() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #lost() {
    this.stop();
    this.#on.onState("lost");
    this.#retry = setTimeout(() => this.start(), this.#pause * (0.5 + Math.random() / 2));
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }

  #gather(event) {
    const record = JSON.parse(event.data);
    const change = Number(event.lastEventId || record.change);
    if (this.#last === null || change > this.#last) this.#last = change;
    const before = this.#gathered.get(record.id);
    if (!before || before.change <= record.change) this.#gathered.set(record.id, record);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      const records = [...this.#gathered.values()];
      this.#gathered.clear();
      this.#on.onRecords(records);
    }, GATHER);
  }

  #onVisibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => this.stop(), HIDDEN_TOO_LONG);
    } else if (this.#source === null) {
      this.start();
    }
  }
}
