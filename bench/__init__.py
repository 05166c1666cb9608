"""Benchmarks of speed and memory usage, mostly compared with a simpler way to do the same work.

Each result is the ratio of two measurements, taken alternately in one run on one machine. README.md
describes the benchmarks, which are not part of the product.
"""
