"""dlt's REST client has no side effects: no telemetry, no files, no configuration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline_tests.integration.sources.conftest import Syncing
from sync_pipeline_tests.integration.sources.rest_server import Api, keys, rows

pytestmark = pytest.mark.integration

SCRIPT = """
import json, os, sys
written, connected, read = [], [], []
def watch(event, args):
    if event == "open":
        path, mode, flags = args
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path != os.devnull:
            written.append(str(path))
        if ".dlt" in str(path): read.append(str(path))
    elif event in ("os.mkdir", "os.rename", "os.remove"):
        written.append(f"{event} {args}")
    elif event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        connected.append(args[0] if event == "socket.getaddrinfo" else args[1][0])
sys.addaudithook(watch)
from datetime import date
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
source = open_source(Dataset.model_validate(json.loads(sys.argv[1])), Settings({}))
rows = source.read_day(date(2025, 10, 1), sys.stdout.buffer, CopyFormat.TEXT)
source.close()
sys.stdout.flush()
import logging
from dlt.common import logger
from dlt.common.runtime import anon_tracker
print(json.dumps({"rows": rows, "written": written, "connected": sorted(set(connected)),
    "read": read, "logger": logger.LOGGER, "tracker": anon_tracker._ANON_TRACKER_ENDPOINT,
    "handlers": len(logging.root.handlers)}))
"""


def test_dlt_sends_no_telemetry_writes_no_files_and_reads_no_configuration(
    syncing: Syncing, api: Api, tmp_path: Path
) -> None:
    """By default, dlt enables telemetry, but reading a day must not start it."""
    settings = tmp_path / ".dlt"
    settings.mkdir()
    (settings / "config.toml").write_text('[runtime]\nlog_level="DEBUG"\nrequest_max_attempts=1\n')
    api.reply_with({"data": rows(1, 2)})
    dataset = syncing.dataset(keys(api)).model_dump(mode="json")
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", SCRIPT, json.dumps(dataset)],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "rows": 2,
        "written": [],
        "connected": ["127.0.0.1"],
        "read": [],
        "logger": None,
        "tracker": None,
        "handlers": 0,
    }
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        ".dlt",
        ".dlt/config.toml",
    ]
