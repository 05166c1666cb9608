"""Dagster's web server from outside, without importing dagster."""
