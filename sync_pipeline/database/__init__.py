"""PostgreSQL: connections, named SQL and migrations.

Contains nothing about days or batches except the migrations: see `tracking/`.
"""
