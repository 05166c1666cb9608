"""A worker is dead if its process no longer exists, not merely because the clock changed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

from sync_pipeline.tracking.worker.workers import RegisteredWorker, this_process

THIS_PROCESS = this_process("run-1")
LOST_AFTER_SECONDS = 15.0


def test_a_live_process_is_not_dead_without_heartbeats() -> None:
    assert not RegisteredWorker(THIS_PROCESS, 3600).is_dead(LOST_AFTER_SECONDS)


def test_another_start_time_means_another_process_only_if_the_heartbeat_is_old() -> None:
    moved = replace(THIS_PROCESS, process_started=THIS_PROCESS.process_started - 100)
    assert not RegisteredWorker(moved, 5).is_dead(LOST_AFTER_SECONDS)
    assert RegisteredWorker(moved, 20).is_dead(LOST_AFTER_SECONDS)


def test_a_killed_process_is_dead_immediately_even_as_a_zombie() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    killed = RegisteredWorker(replace(THIS_PROCESS, pid=process.pid), 0)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert killed.is_dead(LOST_AFTER_SECONDS)
    process.communicate()
    assert killed.is_dead(LOST_AFTER_SECONDS)


def test_a_process_on_another_host_is_never_considered_dead() -> None:
    assert not RegisteredWorker(
        replace(THIS_PROCESS, host_id="another machine", pid=2**22), 3600
    ).is_dead(LOST_AFTER_SECONDS)
