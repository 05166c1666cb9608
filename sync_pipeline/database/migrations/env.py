"""Alembic's entry point: runs the migrations on the connection that `migrate.py` opened."""

from alembic import context

from sync_pipeline.database.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
