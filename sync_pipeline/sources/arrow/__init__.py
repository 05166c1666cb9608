"""Shared code for sources that read Arrow record batches: type mapping and COPY encoding."""
