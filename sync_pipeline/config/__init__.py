"""The configuration of datasets: the models of `defs.yaml` and what is derived from them."""
