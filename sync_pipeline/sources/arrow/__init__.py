"""Sources that read rows as Arrow record batches: types, conversion, COPY encoding."""
