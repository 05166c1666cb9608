"""Benchmarks of speed and memory, compared with the simplest way to do the same work.

Each result is the ratio of two measurements, taken alternately in one run on one machine. README.md
describes them. Not part of the product.
"""
