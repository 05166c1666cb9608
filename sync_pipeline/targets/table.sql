-- table: the relation with the target's name, if any, and the schema in which to create it
SELECT c.oid, c.relkind, n.nspname AS schema, current_user AS user_name,
       coalesce(has_table_privilege(c.oid, 'DELETE'), false) AS may_delete
FROM (SELECT to_regclass(%(table)s) AS oid,
             CASE WHEN %(schema)s::text IS NULL THEN current_schema()::text
                  ELSE %(schema)s END AS schema) AS wanted
LEFT JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema

-- columns: the columns of the target table
SELECT attname::text AS name,
       format_type(atttypid, atttypmod) AS type,
       format_type(atttypid, -1) AS bare_type,
       CASE WHEN typtype = 'd' THEN 'domain' ELSE typcategory::text END AS category,
       attgenerated <> '' AS generated,
       attnotnull AND NOT atthasdef AND attidentity = '' AS required,
       has_column_privilege(attrelid, attnum, 'INSERT') AS may_insert,
       has_column_privilege(attrelid, attnum, 'SELECT') AS may_select,
       has_column_privilege(attrelid, attnum, 'UPDATE') AS may_update
FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type t ON t.oid = atttypid
WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
ORDER BY attnum

-- day_is_indexed: whether a valid index or the partitioning starts with the day column
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %(oid)s AND a.attname = %(day)s AND i.indisvalid AND i.indpred IS NULL
    UNION ALL
    SELECT FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = %(oid)s AND a.attname = %(day)s
)

-- column_names: the columns of a table; no rows if it does not exist
SELECT attname::text FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped

-- unknown_types: the given types that do not exist in this database
SELECT name FROM unnest(%(types)s::text[]) AS name WHERE to_regtype(name) IS NULL

-- column_type: the type of a column; no rows if the table or the column does not exist
SELECT format_type(atttypid, -1) FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attname = %(column)s AND NOT attisdropped
