-- partitioning: how a table is partitioned, and whether rows must come through it: partitions that
-- are made apart have none of its triggers, foreign keys and identity columns
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

-- oid: of the target table
SELECT to_regclass(%(table)s)::oid

-- taking: which partitions take a part of the day, whether they take all of it, and the only one if
-- it is partitioned in its turn; bounds are compared as times of no zone, instants as those of UTC
WITH bound AS (
    SELECT c.oid, c.relkind,
           regexp_match(pg_get_expr(c.relpartbound, c.oid),
                        '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') AS found
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %(oid)s
), taken AS (
    SELECT oid, relkind, tsrange(
        CASE WHEN found[1] = 'MINVALUE' THEN NULL
             WHEN %(instants)s THEN trim(found[1], '''')::timestamptz AT TIME ZONE 'UTC'
             ELSE trim(found[1], '''')::timestamp END,
        CASE WHEN found[2] = 'MAXVALUE' THEN NULL
             WHEN %(instants)s THEN trim(found[2], '''')::timestamptz AT TIME ZONE 'UTC'
             ELSE trim(found[2], '''')::timestamp END) AS part
    FROM bound WHERE found IS NOT NULL
)
SELECT coalesce(array_agg(oid::regclass::text ORDER BY part), '{}') AS names,
       coalesce(range_agg(part) @> tsrange(%(lower)s, %(upper)s), false) AS all_of_it,
       CASE WHEN count(*) = 1 THEN min(oid) FILTER (WHERE relkind = 'p') END AS partitioned
FROM taken WHERE part && tsrange(%(lower)s, %(upper)s)

-- exists: whether a table of that name is there
SELECT to_regclass(%(table)s) IS NOT NULL
