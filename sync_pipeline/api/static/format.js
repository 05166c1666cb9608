// Numbers, lengths of time and moments, in the reader's language and time zone. A dataset's day is
// a name such as 2025-10-01: it is never read as a moment, so no time zone can shift it.

import { language, t } from "./i18n.js";

const made = new Map(); // making a formatter costs far more than using it
const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** The reader's time zone, such as Europe/Berlin. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A whole number, grouped. */
export const number = (value) => formatter(Intl.NumberFormat, {}).format(value ?? 0);

/** A number of bytes, such as 1.2 MB. */
export function bytes(value) {
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

/** A length of time in seconds, such as 15 min 30 s; below ten seconds with a tenth if it has one. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.01) return t("time.instant");
  if (seconds < 10 && seconds % 1) return t("time.seconds", { n: decimal(seconds) });
  const whole = Math.round(seconds);
  if (whole < MINUTE) return t("time.seconds", { n: whole });
  if (whole < HOUR) {
    return t("time.minutes", { m: Math.floor(whole / MINUTE), s: whole % MINUTE });
  }
  return t("time.hours", { h: Math.floor(whole / HOUR), m: Math.floor((whole % HOUR) / MINUTE) });
}

/** A length of time as one would say it of the future: 40 s, 3 min, 2 h 10 min. */
export function roughly(seconds) {
  if (seconds < MINUTE) return t("time.seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < HOUR) return t("time.onlyMinutes", { m: Math.round(seconds / MINUTE) });
  return duration(Math.round(seconds / MINUTE) * MINUTE);
}

const decimal = (value) =>
  formatter(Intl.NumberFormat, { maximumFractionDigits: value < 1 ? 2 : 1 }).format(value);

/** A moment, short: the time alone if it is of today, else with the date. */
export function moment(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const sameYear = at.getFullYear() === new Date().getFullYear();
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (today) return format(at, { ...time, second: "2-digit" });
  const date = { month: "short", day: "numeric", ...(sameYear ? {} : { year: "numeric" }) };
  return format(at, { ...date, ...time });
}

/** A moment in full, with its zone. */
export const fullMoment = (iso) =>
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

/** A range of days as it is written everywhere here; one day alone if they are the same. */
export const range = (first, last) => (first === last ? first : `${first} → ${last}`);

/** The short name of the weekday of a day. */
export const weekday = (day) => dayName(day, { weekday: "short" });

/** The name of the month of a day. */
export const month = (day) => dayName(day, { month: "short" });

/** A day in full, with its weekday. */
export const fullDay = (day) =>
  dayName(day, { weekday: "long", year: "numeric", month: "long", day: "numeric" });

const dayName = (day, options) =>
  formatter(Intl.DateTimeFormat, { ...options, timeZone: "UTC" }).format(utc(day));

/** The moment that stands for a day in calculations: its midnight in UTC. */
export const utc = (day) => new Date(`${day}T00:00:00Z`);

/** The day so many days after another. */
export function addDays(day, count) {
  const at = utc(day);
  at.setUTCDate(at.getUTCDate() + count);
  return at.toISOString().slice(0, 10);
}

/** How many days the range has, both ends included. */
export const daysBetween = (first, last) => Math.round((utc(last) - utc(first)) / 86_400_000) + 1;

/** A formatter of Intl in the reader's language, made once. */
function formatter(Kind, options) {
  const name = `${Kind.name} ${language()} ${JSON.stringify(options)}`;
  if (!made.has(name)) made.set(name, new Kind(language(), options));
  return made.get(name);
}
