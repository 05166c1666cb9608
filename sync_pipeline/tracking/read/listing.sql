-- filters: which records; a value that is not given is folded away by the planner
(%(dataset)s::text IS NULL OR dataset = %(dataset)s)
AND (%(kind)s::text IS NULL OR kind = %(kind)s)
-- The same by the table's own rule, and what the index of the batches is made for.
AND (%(kind)s::text IS DISTINCT FROM 'batch' OR remarks LIKE '%%批量同步%%')
AND (%(status)s::text[] IS NULL OR status = ANY(%(status)s::text[]))
AND (NOT %(dated)s OR (kind = 'day' AND sync_date BETWEEN %(first)s::date AND %(last)s::date)
     OR (kind = 'batch' AND start_date <= %(last)s::date AND end_date >= %(first)s::date))
AND (%(text)s::text IS NULL OR remarks ILIKE %(text)s OR error_message ILIKE %(text)s)

-- list: one page; a fence finds all that is asked for first, and then puts it in order
SELECT {columns} FROM (
    SELECT * FROM (SELECT * FROM daily_sync_status WHERE {filters} {fence}) AS found
    WHERE {beyond} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
) AS r {progress} ORDER BY {order}

-- count: how many there are, up to a limit
SELECT count(*) FROM (
    SELECT FROM daily_sync_status WHERE {filters} LIMIT %(most)s
) AS found

-- estimate: how many there may be
EXPLAIN (FORMAT JSON) SELECT FROM daily_sync_status WHERE {filters}
