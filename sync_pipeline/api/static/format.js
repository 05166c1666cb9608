// Formats numbers, durations, times and days in the user's language and time zone. A day is a plain
// string such as 2025-10-01 and never a point in time, so no time zone can shift it.

import { language, t } from "./i18n.js";

const formatters = new Map(); // creating a formatter costs far more than using it
const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Returns the user's time zone, such as Europe/Berlin. */
export const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Formats an integer with grouping separators. */
export const formatNumber = (value) => formatter(Intl.NumberFormat, {}).format(value ?? 0);

/** Formats a number of bytes, such as 1.2 MB. */
export function formatBytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let step = 0;
  let rest = value ?? 0;
  while (rest >= 1000 && step < units.length - 1) {
    rest /= 1000;
    step += 1;
  }
  return formatter(Intl.NumberFormat, {
    style: "unit",
    unit: units[step],
    unitDisplay: step ? "short" : "narrow",
    maximumFractionDigits: rest < 10 && step ? 1 : 0,
  }).format(rest);
}

/** Formats a duration in seconds, such as 15 min 30 s; with decimals only below ten seconds. */
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.01) return t("time.instant");
  if (seconds < 10 && seconds % 1) return t("time.seconds", { n: formatDecimal(seconds) });
  const whole = Math.round(seconds);
  if (whole < MINUTE) return t("time.seconds", { n: whole });
  if (whole < HOUR) {
    return t("time.minutesSeconds", { m: Math.floor(whole / MINUTE), s: whole % MINUTE });
  }
  return t("time.hours", { h: Math.floor(whole / HOUR), m: Math.floor((whole % HOUR) / MINUTE) });
}

/** Formats an estimated duration in seconds, without false precision: 40 s, 3 min, 2 h 10 min. */
export function formatApproximateDuration(seconds) {
  if (seconds < MINUTE) return t("time.seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < HOUR) return t("time.minutes", { m: Math.round(seconds / MINUTE) });
  return formatDuration(Math.round(seconds / MINUTE) * MINUTE);
}

const formatDecimal = (value) =>
  formatter(Intl.NumberFormat, { maximumFractionDigits: value < 1 ? 2 : 1 }).format(value);

/** Formats a point in time briefly: only the time if it is today, else date and time. */
export function formatTime(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const sameYear = at.getFullYear() === new Date().getFullYear();
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (today) return format(at, { ...time, second: "2-digit" });
  const date = { month: "short", day: "numeric", ...(sameYear ? {} : { year: "numeric" }) };
  return format(at, { ...date, ...time });
}

/** Formats a point in time in full, with its time zone. */
export const formatFullTime = (iso) =>
  format(new Date(iso), {
    year: "numeric",
    month: "long",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
    timeZoneName: "short",
  });

const format = (at, options) => formatter(Intl.DateTimeFormat, options).format(at);

/** Formats a day range; a single day if both ends are the same. */
export const formatDayRange = (first, last) => (first === last ? first : `${first} → ${last}`);

/** Returns the short name of a day's weekday. */
export const weekdayName = (day) => formatDay(day, { weekday: "short" });

/** Returns the short name of a day's month. */
export const monthName = (day) => formatDay(day, { month: "short" });

/** Formats a day in full, with its weekday. */
export const formatFullDay = (day) =>
  formatDay(day, { weekday: "long", year: "numeric", month: "long", day: "numeric" });

const formatDay = (day, options) =>
  formatter(Intl.DateTimeFormat, { ...options, timeZone: "UTC" }).format(utcMidnight(day));

/** Returns a day's midnight in UTC, for date arithmetic. */
export const utcMidnight = (day) => new Date(`${day}T00:00:00Z`);

/** Returns the day `count` days after another. */
export function addDays(day, count) {
  const at = utcMidnight(day);
  at.setUTCDate(at.getUTCDate() + count);
  return at.toISOString().slice(0, 10);
}

/** Returns the number of days in a range, both ends included. */
export const countDays = (first, last) =>
  Math.round((utcMidnight(last) - utcMidnight(first)) / 86_400_000) + 1;

/** Returns an Intl formatter in the current language, created once per set of options. */
function formatter(Kind, options) {
  const key = `${Kind.name} ${language()} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Kind(language(), options));
  return formatters.get(key);
}
