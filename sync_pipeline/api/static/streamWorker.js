// The shared worker that holds one event stream for all tabs of a browser. Browsers allow six
// connections to a server, and each stream occupies one.

import { Stream } from "./stream.js";

/** The tabs, each with whether it missed earlier changes and has to load everything. */
const tabs = new Map();
const stream = new Stream((signal) => tabs.forEach((_, tab) => forward(tab, signal)));

/** The commands that a tab may send. */
const COMMANDS = {
  join(tab) {
    const isFirst = tabs.size === 0;
    tabs.set(tab, true);
    if (isFirst) stream.start();
    else forward(tab, { kind: stream.isLive ? "live" : "disconnected" });
  },
  leave(tab) {
    if (tabs.delete(tab) && tabs.size === 0) stream.end();
  },
  /** Reconnects at once, without waiting for the backoff: the network is available again. */
  reconnect() {
    if (tabs.size) stream.start();
  },
};

function forward(tab, signal) {
  const connects = signal.kind === "open" || signal.kind === "live";
  tab.postMessage(connects ? { ...signal, reload: signal.reload || tabs.get(tab) } : signal);
  if (connects) tabs.set(tab, false);
}

self.addEventListener("connect", ({ ports: [tab] }) => {
  tab.addEventListener("message", ({ data }) => COMMANDS[data](tab));
  tab.addEventListener("close", () => COMMANDS.leave(tab));
  tab.start();
});
