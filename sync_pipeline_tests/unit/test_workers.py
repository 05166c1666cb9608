"""A worker is known to be dead when its process is gone, and not because a clock was set."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

from sync_pipeline.tracking.worker.workers import RegisteredWorker, this_process

HERE = this_process("run-1")
LONG = 15.0


def test_a_process_that_lives_is_not_dead_however_silent() -> None:
    assert not RegisteredWorker(HERE, 3600).is_dead(LONG)


def test_a_process_whose_beginning_seems_moved_is_another_only_if_the_worker_is_silent() -> None:
    moved = replace(HERE, process_started=HERE.process_started - 100)
    assert not RegisteredWorker(moved, 5).is_dead(LONG)
    assert RegisteredWorker(moved, 20).is_dead(LONG)


def test_a_process_that_was_killed_is_dead_at_once_also_before_it_is_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    killed = RegisteredWorker(replace(HERE, pid=process.pid), 0)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert killed.is_dead(LONG)
    process.communicate()
    assert killed.is_dead(LONG)


def test_of_a_process_elsewhere_nothing_is_known() -> None:
    assert not RegisteredWorker(replace(HERE, host_id="another machine", pid=2**22), 3600).is_dead(
        LONG
    )
