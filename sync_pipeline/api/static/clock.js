// What counts seconds on the page: elapsed and remaining times of batches at work.

import { duration, number, roughly } from "./format.js";
import { t } from "./i18n.js";
import { serverNow } from "./serverTime.js";

const tickers = new Set();
setInterval(() => tickers.forEach((tick) => tick()), 1000);

/** Calls `tick` every second until the function that is returned is called. */
export function everySecond(tick) {
  tickers.add(tick);
  return () => tickers.delete(tick);
}

/**
 * How fast a batch is and how long it will take, or took; how long a day has been at work. `receivedAt` is when its record came, by
 * performance.now(): its times go on from there, whatever this machine's clock says.
 */
export function paceWords(record, receivedAt) {
  const speed = record.rows_per_second
    ? t("pace.speed", { n: number(Math.round(record.rows_per_second)) })
    : "";
  if (record.status !== "syncing") {
    return { time: t("pace.took", { time: duration(record.duration_seconds ?? 0) }), speed };
  }
  if (record.kind === "day") {
    const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(record.start_time)) / 1000));
    return { time: t("pace.soFar", { time: duration(seconds) }), speed: "" };
  }
  const since = (performance.now() - receivedAt) / 1000;
  if (record.eta_seconds === null || record.eta_seconds === undefined) {
    const elapsed = duration(Math.floor((record.elapsed_seconds ?? 0) - before(record) + since));
    return { time: t("pace.starting", { time: elapsed }), speed: "" };
  }
  const left = record.eta_seconds - since;
  return { time: left < 1 ? t("pace.almost") : t("pace.left", { time: roughly(left) }), speed };
}

/** How long a batch that was taken up again had begun before that, in seconds; of others none. */
const before = ({ start_time, retried_at }) =>
  retried_at ? (Date.parse(retried_at) - Date.parse(start_time)) / 1000 : 0;
