// The page's two languages. Which one: what was chosen here before, else the browser's.

import en from "./en.js";
import zh from "./zh.js";

const STORED = "sync-pipeline.language";
const MESSAGES = { en, "zh-CN": zh };
let current = stored() ?? preferred();

/** The names of the languages, each in itself. */
export const LANGUAGES = { "zh-CN": "中文", en: "English" };

/** The language in use, as HTML and Intl name it: en or zh-CN. */
export const language = () => current;

/** Changes the language, for this browser and from now on. */
export function setLanguage(name) {
  current = name;
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // A browser that keeps nothing: then it holds until the page is closed.
  }
}

/** The text of that name, with the values put in. */
export function t(name, values = {}) {
  const text = MESSAGES[current][name];
  if (text === undefined) throw new Error(`no text named ${name}`);
  if (typeof text === "function") return text(values);
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
}

function preferred() {
  const first = (navigator.languages ?? [navigator.language]).find((name) =>
    /^(zh|en)\b/i.test(name),
  );
  return first !== undefined && /^zh/i.test(first) ? "zh-CN" : "en";
}

function stored() {
  try {
    const name = localStorage.getItem(STORED);
    return name !== null && name in MESSAGES ? name : null;
  } catch {
    return null;
  }
}
