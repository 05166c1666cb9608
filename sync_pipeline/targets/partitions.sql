-- partitioning: how a table is partitioned, and whether rows must be inserted through it
-- Before it is attached, a partition does not have its parent's triggers, foreign keys and identity
-- columns.
SELECT c.oid, n.nspname::text, c.relname::text,
       coalesce(p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = %(day)s, false) AS by_day,
       p.partdefid <> 0 AS has_default,
       EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute i
                  WHERE i.attrelid = c.oid AND i.attidentity <> '' AND NOT i.attisdropped)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
WHERE c.oid = %(oid)s

-- oid: the OID of the target table
SELECT to_regclass(%(table)s)::oid

-- partitions: the partitions of a table, and the transaction that attached each of them
SELECT inhrelid, xmin::text FROM pg_catalog.pg_inherits WHERE inhparent = %(oid)s

-- bounds: the bounds of RANGE partitions on one column, without a time zone (instants in UTC)
-- Bounds are limited to the years 1 to 9999, the range of Python's datetime.
SELECT c.oid, c.oid::regclass::text, c.relkind = 'p',
       greatest(CASE WHEN bound[1] = 'MINVALUE' THEN '-infinity'::timestamp
                     WHEN %(instants)s THEN trim(bound[1], '''')::timestamptz AT TIME ZONE 'UTC'
                     ELSE trim(bound[1], '''')::timestamp END, '0001-01-01'),
       least(CASE WHEN bound[2] = 'MAXVALUE' THEN 'infinity'::timestamp
                  WHEN %(instants)s THEN trim(bound[2], '''')::timestamptz AT TIME ZONE 'UTC'
                  ELSE trim(bound[2], '''')::timestamp END, '9999-12-31')
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') AS bound
WHERE c.oid = ANY (%(oids)s)
