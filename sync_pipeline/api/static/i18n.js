// The language of the page, English or Chinese: the user's stored choice, else the browser's.

import en from "./en.js";
import zh from "./zh.js";

const STORAGE_KEY = "sync-pipeline.language";
const TEXTS = { en, "zh-CN": zh };
let current = storedLanguage() ?? preferredLanguage();

/** The languages by code, each under its own name. */
export const LANGUAGES = { "zh-CN": "中文", en: "English" };

/** Returns the code of the current language for HTML and Intl: en or zh-CN. */
export const language = () => current;

/** Sets the language and stores the choice in this browser. */
export function setLanguage(name) {
  current = name;
  try {
    localStorage.setItem(STORAGE_KEY, name);
  } catch {
    // Storage is disabled: the choice lasts until the page is closed.
  }
}

/** Returns the text of a key in the current language, with its placeholders filled in. */
export function t(key, values = {}) {
  const text = TEXTS[current][key];
  if (text === undefined) throw new Error(`no text for key ${key}`);
  if (typeof text === "function") return text(values);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

function preferredLanguage() {
  const first = (navigator.languages ?? [navigator.language]).find((name) =>
    /^(zh|en)\b/i.test(name),
  );
  return first !== undefined && /^zh/i.test(first) ? "zh-CN" : "en";
}

function storedLanguage() {
  try {
    const name = localStorage.getItem(STORAGE_KEY);
    return name !== null && name in TEXTS ? name : null;
  } catch {
    return null;
  }
}
