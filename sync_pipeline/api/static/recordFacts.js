// The facts of a record that are not its progress, as terms and descriptions.

import { h } from "./dom.js";
import { fullMoment } from "./format.js";
import { t } from "./i18n.js";

/** Returns the children of a `dl` for a record: the facts that it has. */
export function factsOf(record) {
  const facts = [
    ["began", time(record.start_time)],
    ["ended", time(record.end_time)],
    ["retried", time(record.retried_at)],
    ["by", record.triggered_by],
    ["already", record.already_synced && t(`already.${record.already_synced}`)],
    ["attempt", record.kind === "day" ? String(record.attempt) : null],
    ["heartbeat", record.status === "syncing" ? time(record.heartbeat_at) : null],
    ["key", record.batch_key && h("code", {}, record.batch_key)],
    ["run", record.run_id && h("code", {}, record.run_id)],
    ["id", h("code", {}, String(record.id))],
  ];
  return facts
    .filter(([, value]) => value)
    .map(([name, value]) => h("div", {}, h("dt", {}, t(`fact.${name}`)), h("dd", {}, value)));
}

const time = (iso) => iso && h("time", { datetime: iso }, fullMoment(iso));
