"""Kill all processes of a running Dagster at once."""

import psutil

from sync_pipeline.local.stack import RunningDagster

_TIMEOUT_SECONDS = 180


def kill_all(dagster: RunningDagster) -> None:
    """Kill the web server, daemon, code server and runs at once, as a power failure would."""
    main = psutil.Process(dagster.process.pid)
    everything = [main, *main.children(recursive=True)]
    for process in everything:
        process.suspend()  # so that none can react when another dies
    for process in everything:
        process.kill()
    psutil.wait_procs(everything[1:], _TIMEOUT_SECONDS)
    dagster.process.wait()
