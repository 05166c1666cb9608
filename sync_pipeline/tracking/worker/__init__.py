"""What a worker writes."""
