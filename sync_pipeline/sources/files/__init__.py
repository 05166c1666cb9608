"""The `files` source: CSV, JSON Lines and Parquet files on disk, S3 or Google Cloud Storage."""
