// The preview of a launch request: which days it would sync and skip.

import { Problem, previewLaunch } from "./api.js";
import { debounce, h, replace } from "./dom.js";
import { formatDayRange, formatNumber } from "./format.js";
import { t } from "./i18n.js";

const TYPING_DELAY = 250; // milliseconds
const MAX_RANGES = 6;

/** Shows the preview in `element`; `onResult` gets the API's response, or the Problem. */
export class Preview {
  #abort = null;
  #onResult;
  #loadDebounced = debounce((request) => this.#load(request), TYPING_DELAY);

  constructor(onResult) {
    this.#onResult = onResult;
    this.element = h("p", { class: "preview", role: "status" });
  }

  /** Shows the preview of a request; null if the request is incomplete. */
  show(request) {
    this.#abort?.abort();
    this.#loadDebounced.cancel();
    if (request === null) {
      replace(this.element, t("preview.none"));
      return;
    }
    this.#loadDebounced(request);
  }

  async #load(request) {
    this.#abort = new AbortController();
    try {
      const response = await previewLaunch(request, this.#abort.signal);
      if (response.refused_because) {
        const { refused_because: detail, field, code, params } = response;
        throw new Problem(422, detail, field, code, params);
      }
      replace(this.element, summarize(response));
      this.#onResult(response, null);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      replace(this.element);
      this.#onResult(null, problem);
    }
  }
}

function summarize({ days, ranges }) {
  const toSync = { n: days.to_sync, shown: formatNumber(days.to_sync) };
  const parts = [h("b", {}, t("preview.toSync", toSync))];
  if (days.to_sync && days.to_sync < days.total) parts.push(" ", listRanges(ranges.to_sync));
  if (days.skipped) {
    const skipped = { n: days.skipped, shown: formatNumber(days.skipped) };
    parts.push(t("separator"), t("preview.skipped", skipped));
  }
  return parts;
}

function listRanges(ranges) {
  const shown = ranges
    .slice(0, MAX_RANGES)
    .map(([first, last]) => formatDayRange(first, last));
  if (ranges.length > shown.length)
    shown.push(t("preview.more", { n: ranges.length - shown.length }));
  return h("span", { class: "ranges" }, shown.join(", "));
}
