// The live stream as a tab hears it: over the worker that all tabs share, or by itself in a browser
// that has none.

import { Stream } from "./stream.js";

const GATHER = 100; // a fast batch changes its record far more often than an eye can follow
const HIDDEN_TOO_LONG = 5 * 60_000; // milliseconds, for nobody to see what changes
const HIDDEN_ALONE = 5000; // sooner where each tab holds a connection, of which a browser has six

/**
 * Calls `onRecords` with the records that changed, each once and in its latest form; `onReload`
 * when what is on the page may be out of date in ways the stream does not say; `onReset` before
 * that, when what is known of records is worth nothing; and `onState` with "live", "lost" or
 * "away".
 */
export class Events {
  #on;
  #ear;
  #wanted = false;
  #joined = false;
  #hidden = 0;
  #gathered = new Map();
  #timer = 0;

  constructor(on) {
    this.#on = on;
    const onWord = (word) => this.#hear(word);
    const alone = () => {
      this.#ear = ownEar(onWord);
      if (this.#joined) this.#ear.ask("join");
    };
    this.#ear = sharedEar(onWord, alone) ?? ownEar(onWord);
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    window.addEventListener("online", () => this.#joined && this.#ear.ask("again"));
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.#join());
  }

  /** Connects; from here on the stream is held, but while nobody sees the page. */
  start() {
    this.#wanted = true;
    this.#leave();
    this.#join();
  }

  /** Ends it, until it is started again. */
  stop() {
    this.#wanted = false;
    this.#leave();
  }

  #join() {
    if (!this.#wanted || this.#joined) return;
    this.#joined = true;
    this.#ear.ask("join");
  }

  #leave() {
    if (!this.#joined) return;
    this.#joined = false;
    this.#ear.ask("leave");
    this.#on.onState("away");
  }

  #hear(word) {
    if (!this.#joined) return;
    if (word.kind === "record") this.#gather(JSON.parse(word.text));
    else if (word.kind === "reset") {
      this.#gathered.clear();
      this.#on.onReset();
      this.#on.onReload();
    } else {
      this.#on.onState(word.kind === "lost" ? "lost" : "live");
      if (word.whole) this.#on.onReload();
    }
  }

  #gather(record) {
    const before = this.#gathered.get(record.id);
    if (!before || before.change <= record.change) this.#gathered.set(record.id, record);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      const records = [...this.#gathered.values()];
      this.#gathered.clear();
      if (records.length) this.#on.onRecords(records);
    }, GATHER);
  }

  #onVisibility() {
    clearTimeout(this.#hidden);
    if (!document.hidden) return this.#join();
    const patience = this.#ear.isShared ? HIDDEN_TOO_LONG : HIDDEN_ALONE;
    this.#hidden = setTimeout(() => this.#leave(), patience);
  }
}

/** What hears over the worker that all tabs share; null in a browser that has none. */
function sharedEar(onWord, onFailed) {
  try {
    const worker = new SharedWorker("/static/streamWorker.js", { type: "module", name: "stream" });
    worker.addEventListener("error", onFailed);
    const { port } = worker;
    port.addEventListener("message", ({ data }) => onWord(data));
    port.start();
    return { isShared: true, ask: (what) => port.postMessage(what) };
  } catch {
    return null;
  }
}

/** What hears by itself. It goes on where it left, so that nothing has to be read anew. */
function ownEar(onWord) {
  const stream = new Stream(onWord);
  const does = {
    join: () => stream.start(),
    leave: () => stream.stop(),
    again: () => stream.start(),
  };
  return { isShared: false, ask: (what) => does[what]() };
}
