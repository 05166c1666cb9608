"""Alembic's entry: run the migrations on the connection that `migrate` opened and locked."""

from alembic import context

from sync_pipeline.database.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
