"""The `sync-pipeline` command."""
