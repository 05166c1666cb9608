"""The command line: the commands of `sync-pipeline` and their output."""
