// A connection to the event stream that reconnects after errors and silence without losing changes.

import { eventsUrl } from "./endpoints.js";

const INITIAL_BACKOFF = 500; // milliseconds; doubled with each failed attempt
const MAX_BACKOFF = 10_000;
const SILENCE_TIMEOUT = 40_000; // the server pings three times as often

/**
 * Passes signals to `onSignal`:
 * - `{kind: "open", reload}`: connected; `reload` means that earlier changes are not replayed.
 * - `{kind: "live"}`, `{kind: "disconnected"}`: whether changes arrive.
 * - `{kind: "record", text, id}`: a record changed.
 * - `{kind: "reset"}`: changes were lost, and everything has to be loaded again.
 */
export class Stream {
  #source = null;
  #lastId = null;
  #backoff = INITIAL_BACKOFF;
  #reconnectTimer = 0;
  #silenceTimer = 0;
  #live = false;
  #onSignal;

  constructor(onSignal) {
    this.#onSignal = onSignal;
  }

  /** Whether changes arrive. */
  get isLive() {
    return this.#live;
  }

  /** Connects, or reconnects. */
  start() {
    this.stop();
    const source = new EventSource(eventsUrl(this.#lastId));
    const reload = this.#lastId === null;
    source.addEventListener("open", () => {
      this.#live = true;
      this.#onSignal({ kind: "open", reload });
    });
    source.addEventListener("ping", (event) => this.#onPing(event));
    for (const kind of ["record", "reset"]) {
      source.addEventListener(kind, (event) => {
        this.#onEvent(event);
        this.#onSignal({ kind, text: event.data, id: event.lastEventId });
      });
    }
    source.addEventListener("error", () => this.#reconnect());
    this.#source = source;
  }

  /** Disconnects and forgets the position in the stream. */
  end() {
    this.stop();
    this.#lastId = null;
  }

  /** Disconnects; `start` resumes from the same position. */
  stop() {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = 0;
    this.#source?.close();
    this.#source = null;
    this.#live = false;
  }

  #reconnect() {
    this.stop();
    this.#onSignal({ kind: "disconnected" });
    const delay = this.#backoff * (0.5 + Math.random() / 2);
    this.#reconnectTimer = setTimeout(() => this.start(), delay);
    this.#backoff = Math.min(MAX_BACKOFF, this.#backoff * 2);
  }

  /** Handles a ping, which says whether the server itself receives changes. */
  #onPing(event) {
    this.#onEvent(event);
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#reconnect(), SILENCE_TIMEOUT);
    const { live } = JSON.parse(event.data);
    if (live === this.#live) return;
    this.#live = live;
    this.#onSignal({ kind: live ? "live" : "disconnected" });
  }

  #onEvent(event) {
    this.#backoff = INITIAL_BACKOFF;
    if (this.#silenceTimer) {
      clearTimeout(this.#silenceTimer);
      this.#silenceTimer = setTimeout(() => this.#reconnect(), SILENCE_TIMEOUT);
    }
    const id = event.lastEventId === "" ? NaN : Number(event.lastEventId);
    if (event.type === "reset") this.#lastId = Number.isNaN(id) ? null : id;
    else if (!Number.isNaN(id)) this.#lastId = Math.max(id, this.#lastId ?? id);
  }
}
