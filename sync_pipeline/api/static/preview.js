// What launching a request would mean, asked of the API while it is written.

import { Problem, preview } from "./api.js";
import { debounced, h, replace } from "./dom.js";
import { number, range } from "./format.js";
import { t } from "./i18n.js";

const PAUSE = 250; // milliseconds
const MOST_RANGES = 6;

/** Shows it in `element`; `onAnswer` gets the answer, or the Problem. */
export class Preview {
  #abort = null;
  #onAnswer;
  #later = debounced((request) => this.#ask(request), PAUSE);

  constructor(onAnswer) {
    this.#onAnswer = onAnswer;
    this.element = h("p", { class: "preview", role: "status" });
  }

  /** Shows a request; null is one that is not complete. */
  show(request) {
    this.#abort?.abort();
    this.#later.cancel();
    if (request === null) {
      replace(this.element, t("preview.none"));
      return;
    }
    this.#later(request);
  }

  async #ask(request) {
    this.#abort = new AbortController();
    try {
      const answer = await preview(request, this.#abort.signal);
      if (answer.refused_because) {
        const { refused_because: said, field, code, params } = answer;
        throw new Problem(422, said, field, code, params);
      }
      replace(this.element, words(answer));
      this.#onAnswer(answer, null);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      replace(this.element);
      this.#onAnswer(null, problem);
    }
  }
}

function words({ days, ranges }) {
  const parts = [h("b", {}, t("preview.toSync", { n: days.to_sync, shown: number(days.to_sync) }))];
  if (days.to_sync && days.to_sync < days.total) parts.push(" ", ranged(ranges.to_sync));
  if (days.skipped) {
    parts.push(
      t("separator"),
      t("preview.skipped", { n: days.skipped, shown: number(days.skipped) }),
    );
  }
  return parts;
}

function ranged(ranges) {
  const shown = ranges.slice(0, MOST_RANGES).map(([first, last]) => range(first, last));
  if (ranges.length > shown.length)
    shown.push(t("preview.more", { n: ranges.length - shown.length }));
  return h("span", { class: "ranges" }, shown.join(", "));
}
