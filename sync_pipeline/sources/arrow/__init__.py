"""Rows as Arrow record batches."""
