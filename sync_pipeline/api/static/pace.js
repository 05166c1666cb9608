// The speed, elapsed time and remaining time of records, and the timer that updates them.

import { formatApproximateDuration, formatDuration, formatNumber } from "./format.js";
import { t } from "./i18n.js";
import { serverNow } from "./serverTime.js";

const tickers = new Set();
setInterval(() => tickers.forEach((tick) => tick()), 1000);

/** Calls `tick` every second. Returns a function that stops it. */
export function everySecond(tick) {
  tickers.add(tick);
  return () => tickers.delete(tick);
}

/**
 * Returns the `time` and `speed` texts of a record: the time that a batch has left or took, or the
 * time that a day has been running. `receivedAt` is the value of performance.now() when the record
 * arrived; durations are counted from there, because the local clock may be wrong.
 */
export function paceTexts(record, receivedAt) {
  const speed = record.rows_per_second
    ? t("pace.rowsPerSecond", { n: formatNumber(Math.round(record.rows_per_second)) })
    : "";
  if (record.status !== "syncing") {
    return { time: t("pace.took", { time: formatDuration(record.duration_seconds ?? 0) }), speed };
  }
  if (record.kind === "day") {
    const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(record.start_time)) / 1000));
    return { time: t("pace.running", { time: formatDuration(seconds) }), speed: "" };
  }
  const sinceReceived = (performance.now() - receivedAt) / 1000;
  if (record.eta_seconds === null || record.eta_seconds === undefined) {
    const elapsed = (record.elapsed_seconds ?? 0) - secondsBeforeRetry(record) + sinceReceived;
    const time = formatDuration(Math.floor(elapsed));
    return { time: t("pace.starting", { time }), speed: "" };
  }
  const left = record.eta_seconds - sinceReceived;
  const time =
    left < 1
      ? t("pace.almostDone")
      : t("pace.remaining", { time: formatApproximateDuration(left) });
  return { time, speed };
}

/** Returns the seconds between a batch's start and its retry; 0 if it was not retried. */
const secondsBeforeRetry = ({ start_time, retried_at }) =>
  retried_at ? (Date.parse(retried_at) - Date.parse(start_time)) / 1000 : 0;
