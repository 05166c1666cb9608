"""Benchmarks: speed and memory, compared with the simplest way to do the same.

Each result is the ratio of two things measured alternately, in one run on one machine; README.md
describes them. Not part of the product.
"""
