"""PostgreSQL: connections, named SQL and migrations.

Does not contain anything about days or batches except the migrations: see `tracking/`.
"""
