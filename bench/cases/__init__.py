"""The cases by name, in the order in which they run. Each module contains one or more cases."""

from bench.cases import (
    api_list,
    arrow_copy,
    day_1m,
    event_streams,
    files,
    growth_3650,
    idle_reconciler,
    lost_worker,
    memory,
    spec_queries,
    start_of_work,
    year_tracked,
    year_vs_peers,
)
from bench.results import Measure

CASES: dict[str, Measure] = {
    year_tracked.CASE: year_tracked.measure,
    year_vs_peers.YEAR_VS_BARE: year_vs_peers.against_bare,
    year_vs_peers.YEAR_VS_DLT: year_vs_peers.against_dlt,
    year_vs_peers.YEAR_VS_SLING: year_vs_peers.against_sling,
    year_vs_peers.YEAR_VS_RUN_PER_DAY: year_vs_peers.against_a_run_per_day,
    day_1m.CASE: day_1m.measure,
    files.FILES_VS_PSQL: files.against_psql,
    files.FILES_VS_DUCKDB: files.against_duckdb,
    memory.MEMORY_5M: memory.above_idle,
    memory.MEMORY_10M_VS_1M: memory.flat,
    arrow_copy.ARROW_VS_CSV: arrow_copy.against_csv,
    arrow_copy.ARROW_VS_ADBC: arrow_copy.against_adbc,
    growth_3650.CASE: growth_3650.measure,
    start_of_work.UI_CLICK_TO_DAY: start_of_work.from_ui,
    start_of_work.API_CLICK_TO_DAY: start_of_work.from_api,
    start_of_work.COMMAND_TO_DAY: start_of_work.from_command,
    start_of_work.BACKFILL_RUN_EACH: start_of_work.each_run,
    idle_reconciler.CASE: idle_reconciler.measure,
    lost_worker.CASE: lost_worker.measure,
    spec_queries.CASE: spec_queries.measure,
    api_list.CASE: api_list.measure,
    event_streams.CASE: event_streams.measure,
}
