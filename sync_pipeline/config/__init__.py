"""Datasets as their YAML describes them."""
