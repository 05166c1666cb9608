// The facts of a record besides its progress, such as times, who triggered it, and its IDs.

import { h } from "./dom.js";
import { formatFullTime } from "./format.js";
import { t } from "./i18n.js";

/** Returns the facts that a record has, as children of a `dl`. */
export function recordFacts(record) {
  const facts = [
    ["started", time(record.start_time)],
    ["ended", time(record.end_time)],
    ["retried", time(record.retried_at)],
    ["triggeredBy", record.triggered_by],
    ["alreadySynced", record.already_synced && t(`alreadySynced.${record.already_synced}`)],
    ["warning", record.warning && h("span", { lang: "en" }, record.warning)],
    ["attempt", record.kind === "day" ? String(record.attempt) : null],
    ["heartbeat", record.status === "syncing" ? time(record.heartbeat_at) : null],
    ["batchKey", record.batch_key && h("code", {}, record.batch_key)],
    ["run", record.run_id && h("code", {}, record.run_id)],
    ["id", h("code", {}, String(record.id))],
  ];
  return facts
    .filter(([, value]) => value)
    .map(([name, value]) => h("div", {}, h("dt", {}, t(`fact.${name}`)), h("dd", {}, value)));
}

const time = (iso) => iso && h("time", { datetime: iso }, formatFullTime(iso));
