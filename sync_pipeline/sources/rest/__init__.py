"""The `rest` source: reads JSON from an HTTP API."""
