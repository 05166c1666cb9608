-- filters: conditions of a list; the planner removes those whose value is NULL
(%(dataset)s::text IS NULL OR dataset = %(dataset)s)
AND (%(kind)s::text IS NULL OR kind = %(kind)s)
-- Implied by the constraint on remarks; lets the planner use the partial index on batches.
AND (%(kind)s::text IS DISTINCT FROM 'batch' OR remarks LIKE '%%批量同步%%')
AND (%(status)s::text[] IS NULL OR status = ANY(%(status)s::text[]))
AND (NOT %(dated)s OR (kind = 'day' AND sync_date BETWEEN %(first)s::date AND %(last)s::date)
     OR (kind = 'batch' AND start_date <= %(last)s::date AND end_date >= %(first)s::date))
AND (%(text)s::text IS NULL OR remarks ILIKE %(text)s OR error_message ILIKE %(text)s)

-- list: one page; with the fence (OFFSET 0), filters all records before sorting them
SELECT {columns} FROM (
    SELECT * FROM (SELECT * FROM daily_sync_status WHERE {filters} {fence}) AS found
    WHERE {beyond} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
) AS r {progress} ORDER BY {order}

-- count: number of records, up to a limit
SELECT count(*) FROM (
    SELECT FROM daily_sync_status WHERE {filters} LIMIT %(max_count)s
) AS found

-- estimate: the planner's estimate of the number of records
EXPLAIN (FORMAT JSON) SELECT FROM daily_sync_status WHERE {filters}
