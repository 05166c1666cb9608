"""The text of docs/sources/files.md and its examples."""

import re

import yaml

from sync_pipeline.settings import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "sources" / "files.md").read_text(encoding="utf-8")
ON_S3, ON_DISK = (
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)
)
