// The live events of a tab, received through the worker that all tabs share, or over the tab's own
// connection in a browser without shared workers.

import { Stream } from "./stream.js";

const BATCH_INTERVAL = 100; // milliseconds; a fast batch changes far more often than is visible
const MAX_HIDDEN = 5 * 60_000; // milliseconds until a hidden tab disconnects
const MAX_HIDDEN_UNSHARED = 5000; // shorter: browsers allow six connections to a server

/**
 * Calls `onRecords` with the records that changed, each once and in its latest version; `onReload`
 * when the page has to be loaded again because changes may have been missed; `onReset` before that
 * if cached records are no longer valid; and `onState` with "live", "disconnected" or "paused".
 */
export class LiveEvents {
  #handlers;
  #connection;
  #started = false;
  #joined = false;
  #hiddenTimer = 0;
  #pending = new Map();
  #pendingTimer = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    const onSignal = (signal) => this.#onSignal(signal);
    const onWorkerFailed = () => {
      this.#connection = connectDirectly(onSignal);
      if (this.#joined) this.#connection.send("join");
    };
    this.#connection =
      connectToSharedWorker(onSignal, onWorkerFailed) ?? connectDirectly(onSignal);
    document.addEventListener("visibilitychange", () => this.#onVisibilityChange());
    window.addEventListener("online", () => this.#joined && this.#connection.send("reconnect"));
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.#join());
  }

  /** Connects, and stays connected while the page is visible. */
  start() {
    this.#started = true;
    this.#leave();
    this.#join();
  }

  /** Disconnects until `start` is called again. */
  stop() {
    this.#started = false;
    this.#leave();
  }

  #join() {
    if (!this.#started || this.#joined) return;
    this.#joined = true;
    this.#connection.send("join");
  }

  #leave() {
    if (!this.#joined) return;
    this.#joined = false;
    this.#connection.send("leave");
    this.#handlers.onState("paused");
  }

  #onSignal(signal) {
    if (!this.#joined) return;
    if (signal.kind === "record") this.#collect(JSON.parse(signal.text));
    else if (signal.kind === "reset") {
      this.#pending.clear();
      this.#handlers.onReset();
      this.#handlers.onReload();
    } else {
      this.#handlers.onState(signal.kind === "disconnected" ? "disconnected" : "live");
      if (signal.reload) this.#handlers.onReload();
    }
  }

  /** Collects the changes of one interval, so that a record is passed on once. */
  #collect(record) {
    const before = this.#pending.get(record.id);
    if (!before || before.change <= record.change) this.#pending.set(record.id, record);
    this.#pendingTimer ||= setTimeout(() => {
      this.#pendingTimer = 0;
      const records = [...this.#pending.values()];
      this.#pending.clear();
      if (records.length) this.#handlers.onRecords(records);
    }, BATCH_INTERVAL);
  }

  #onVisibilityChange() {
    clearTimeout(this.#hiddenTimer);
    if (!document.hidden) return this.#join();
    const maxHidden = this.#connection.isShared ? MAX_HIDDEN : MAX_HIDDEN_UNSHARED;
    this.#hiddenTimer = setTimeout(() => this.#leave(), maxHidden);
  }
}

/** Connects through the shared worker; returns null if the browser has no shared workers. */
function connectToSharedWorker(onSignal, onFailed) {
  try {
    const worker = new SharedWorker("/static/streamWorker.js", { type: "module", name: "stream" });
    worker.addEventListener("error", onFailed);
    const { port } = worker;
    port.addEventListener("message", ({ data }) => onSignal(data));
    port.start();
    return { isShared: true, send: (command) => port.postMessage(command) };
  } catch {
    return null;
  }
}

/** Connects from this tab. Joining again resumes the stream, so nothing has to be reloaded. */
function connectDirectly(onSignal) {
  const stream = new Stream(onSignal);
  const commands = {
    join: () => stream.start(),
    leave: () => stream.stop(),
    reconnect: () => stream.start(),
  };
  return { isShared: false, send: (command) => commands[command]() };
}
