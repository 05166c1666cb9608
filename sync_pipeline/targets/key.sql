-- unique: unique indexes on exactly the columns of a key, deferrable ones first
SELECT NOT i.indimmediate, quote_ident(c.relname)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text) AS names FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = i.indrelid
      AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
) AS columns
WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND names @> %(key)s::text[] AND names <@ %(key)s::text[]
ORDER BY i.indimmediate

-- partitioned_by: the partition columns of a table, which its unique indexes must include
SELECT a.attname::text FROM pg_catalog.pg_partitioned_table p
JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs)
WHERE p.partrelid = %(oid)s

-- may_create_temporary_tables: whether this user may create temporary tables, and in which database
SELECT has_database_privilege(current_database(), 'TEMPORARY'), current_database()
