"""Describes the machine that a benchmark runs on, without identifying it."""

import os
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone

from bench.programs import program


@dataclass(frozen=True)
class Machine:
    """The CPU cores, the memory in bytes, the PostgreSQL version, and the date in UTC."""

    cores: int
    memory_bytes: int
    postgresql: str
    date: str

    @classmethod
    def this(cls) -> "Machine":
        """Return a description of this machine, with today's date."""
        version = subprocess.run(
            [program("postgres"), "--version"], check=True, capture_output=True, text=True
        )
        return cls(
            cores=os.cpu_count() or 1,
            memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            postgresql=version.stdout.split()[-1],
            date=datetime.now(timezone.utc).date().isoformat(),
        )

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.0f} GiB"
        return f"{self.cores} cores, {memory}, PostgreSQL {self.postgresql}, {self.date}"
