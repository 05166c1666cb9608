// One connection to the live stream, made again whenever it is lost, with no change left out.

import { eventsAddress } from "./endpoints.js";

const FIRST_PAUSE = 500; // milliseconds, doubled with each try until something is heard
const LONGEST_PAUSE = 10_000;
const SILENCE = 40_000; // a server that says that it is there does so three times as often

/**
 * Calls `onWord` with what is to be known: `{kind: "open", whole}`, where `whole` says that what
 * came before is not told; `{kind: "live"}` and `{kind: "lost"}`; `{kind: "record", text, id}` and
 * `{kind: "reset"}`.
 */
export class Stream {
  #source = null;
  #last = null;
  #pause = FIRST_PAUSE;
  #retry = 0;
  #silence = 0;
  #live = false;
  #onWord;

  constructor(onWord) {
    this.#onWord = onWord;
  }

  /** Whether changes come in. */
  get isLive() {
    return this.#live;
  }

  /** Connects, or connects anew. */
  start() {
    this.stop();
    const source = new EventSource(eventsAddress(this.#last));
    const whole = this.#last === null;
    source.addEventListener("open", () => {
      this.#live = true;
      this.#onWord({ kind: "open", whole });
    });
    source.addEventListener("ping", (event) => this.#onPing(event));
    for (const kind of ["record", "reset"]) {
      source.addEventListener(kind, (event) => {
        this.#heard(event);
        this.#onWord({ kind, text: event.data, id: event.lastEventId });
      });
    }
    source.addEventListener("error", () => this.#lost());
    this.#source = source;
  }

  /** Ends it, and forgets how far it came. */
  end() {
    this.stop();
    this.#last = null;
  }

  stop() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#silence = 0;
    this.#source?.close();
    this.#source = null;
    this.#live = false;
  }

  #lost() {
    this.stop();
    this.#onWord({ kind: "lost" });
    this.#retry = setTimeout(() => this.start(), this.#pause * (0.5 + Math.random() / 2));
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }

  /** The server is there; whether it hears of changes itself, it says. */
  #onPing(event) {
    this.#heard(event);
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE);
    const { live } = JSON.parse(event.data);
    if (live === this.#live) return;
    this.#live = live;
    this.#onWord({ kind: live ? "live" : "lost" });
  }

  #heard(event) {
    this.#pause = FIRST_PAUSE;
    if (this.#silence) {
      clearTimeout(this.#silence);
      this.#silence = setTimeout(() => this.#lost(), SILENCE);
    }
    const id = event.lastEventId === "" ? NaN : Number(event.lastEventId);
    if (event.type === "reset") this.#last = Number.isNaN(id) ? null : id;
    else if (!Number.isNaN(id)) this.#last = Math.max(id, this.#last ?? id);
  }
}
