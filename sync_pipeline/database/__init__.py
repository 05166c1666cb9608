"""PostgreSQL: connections, named SQL and migrations.

Apart from the migrations, nothing here deals with days or batches: see `tracking/`.
"""
