"""The configuration of datasets: the models for `defs.yaml`, and values derived from them."""
