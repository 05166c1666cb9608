"""PostgreSQL: connections, named SQL, migrations. Nothing here knows what a day or a batch is."""
