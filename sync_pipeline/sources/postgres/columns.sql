-- columns: the columns and types of a table, or of a query described by column names and type OIDs
-- Domains are replaced by their base types, as PostgreSQL does when it describes a query.
-- `binary` is true if the target can read the type's binary format: the type is built in, has a
-- send function, and does not refer to the source's catalog by OID.
WITH RECURSIVE given (position, name, type, modifier) AS (
    SELECT attnum::bigint, attname::text, atttypid, atttypmod
    FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT position, name, type, -1
    FROM unnest(%(names)s::text[], %(types)s::oid[]) WITH ORDINALITY AS q (name, type, position)
), reduced AS (
    SELECT * FROM given
    UNION ALL
    SELECT r.position, r.name, t.typbasetype, t.typtypmod
    FROM reduced r JOIN pg_catalog.pg_type t ON t.oid = r.type
    WHERE t.typtype = 'd'
)
SELECT r.name,
       format_type(r.type, r.modifier) AS type,
       t.typnamespace = 'pg_catalog'::regnamespace
           AND t.typtype IN ('b', 'r', 'm')
           AND v.typsend <> 0
           AND (v.typcategory <> 'Z' OR v.typname = 'char')
           AND v.typname NOT LIKE 'reg%%' AS binary
FROM reduced r
JOIN pg_catalog.pg_type t ON t.oid = r.type
-- for an array, check its element type
JOIN pg_catalog.pg_type v ON v.oid = CASE t.typcategory WHEN 'A' THEN t.typelem ELSE t.oid END
WHERE t.typtype <> 'd'
ORDER BY r.position
