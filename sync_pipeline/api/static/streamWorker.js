// One live stream for all tabs of a browser, as a shared worker: a browser allows six connections
// to a server, and a stream holds one as long as it is open.

import { Stream } from "./stream.js";

/** The tabs, each with whether it has missed what came before, and has to read everything. */
const tabs = new Map();
const stream = new Stream((word) => tabs.forEach((_, tab) => tell(tab, word)));

/** What a tab may ask for. */
const DOES = {
  join(tab) {
    const isFirst = tabs.size === 0;
    tabs.set(tab, true);
    if (isFirst) stream.start();
    else tell(tab, { kind: stream.isLive ? "live" : "lost" });
  },
  leave(tab) {
    if (tabs.delete(tab) && tabs.size === 0) stream.end();
  },
  /** The network is back: this does not wait for the next try. */
  again() {
    if (tabs.size) stream.start();
  },
};

function tell(tab, word) {
  const connects = word.kind === "open" || word.kind === "live";
  tab.postMessage(connects ? { ...word, whole: word.whole || tabs.get(tab) } : word);
  if (connects) tabs.set(tab, false);
}

self.addEventListener("connect", ({ ports: [tab] }) => {
  tab.addEventListener("message", ({ data }) => DOES[data](tab));
  tab.addEventListener("close", () => DOES.leave(tab));
  tab.start();
});
