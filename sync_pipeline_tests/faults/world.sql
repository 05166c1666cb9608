-- source: computes the rows from the current generation; some days have no rows
CREATE TABLE generation (number integer NOT NULL, pace float8 NOT NULL);
INSERT INTO generation VALUES (1, 0);
CREATE FUNCTION gate(dataset text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({in_read}, hashtext(dataset));
    RETURN repeat('x', 200);
END $$;

-- source_of: the days of a dataset, and the view that the sync reads
CREATE TABLE {dataset}_days (day date PRIMARY KEY);
INSERT INTO {dataset}_days
SELECT date '{start}' + n FROM generate_series(0, {days} - 1) AS n;
CREATE VIEW {dataset}_source AS
SELECT day, id, number * 1000 + id AS amount, {key} AS key,
       CASE WHEN id = 1 AND pace > 0 THEN 'paced' || pg_sleep(pace)::text
            WHEN id = 10 THEN gate('{dataset}') ELSE repeat('x', 200) END AS pad
FROM {dataset}_days, generation, generate_series(1, {rows} - number) AS id
WHERE (day - date '{start}' + 3 * number) % 13 <> 0;
GRANT SELECT ON {dataset}_source TO sync;

-- target: makes a session wait while another session holds the gate's lock
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::integer, hashtext(TG_TABLE_NAME));
    RETURN NEW;
END $$;

-- target_of: a dataset's table, with gates in the copy and before the commit
CREATE TABLE {dataset} (day date, id integer, amount integer, key integer, pad text);
CREATE INDEX ON {dataset} (day);
CREATE TRIGGER in_copy BEFORE INSERT ON {dataset}
    FOR EACH ROW WHEN (NEW.id = 15) EXECUTE FUNCTION gate({in_copy});
CREATE CONSTRAINT TRIGGER before_commit AFTER INSERT OR UPDATE ON {dataset}
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION gate({before_commit});
GRANT SELECT, INSERT ON {dataset} TO sync;

-- target_replaced: a gate after the day's rows have been deleted
CREATE TRIGGER after_delete AFTER DELETE ON {dataset}
    FOR EACH STATEMENT EXECUTE FUNCTION gate({after_delete});
GRANT DELETE ON {dataset} TO sync;

-- target_kept: a gate before the first row is written
CREATE TRIGGER after_delete BEFORE INSERT ON {dataset}
    FOR EACH STATEMENT EXECUTE FUNCTION gate({after_delete});

-- target_key: the key of a table
CREATE UNIQUE INDEX ON {dataset} (key);
GRANT UPDATE ON {dataset} TO sync;

-- target_partitioned: a partitioned table without triggers, whose partitions are loaded before
-- they are attached; the other gates are where the partition is created and attached
CREATE FUNCTION gate_of_row(dataset text, id integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF id = 15 THEN
        PERFORM pg_advisory_xact_lock_shared({in_copy}, hashtext(dataset));
    END IF;
    RETURN true;
END $$;
CREATE TABLE {dataset} (day date, id integer, amount integer, key integer, pad text,
    CONSTRAINT in_copy CHECK (gate_of_row('{dataset}', id))) PARTITION BY RANGE (day);
CREATE INDEX ON {dataset} (day);
ALTER TABLE {dataset} OWNER TO sync;
CREATE FUNCTION gate_of_partition() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
               WHERE object_identity LIKE 'public.{dataset}%') THEN
        PERFORM pg_advisory_xact_lock_shared(
            CASE tg_tag WHEN 'CREATE TABLE' THEN {after_delete} ELSE {before_commit} END,
            hashtext('{dataset}'));
    END IF;
END $$;
CREATE EVENT TRIGGER gate_of_partition ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION gate_of_partition();

-- tracking: gates in the transactions that write an attempt
CREATE FUNCTION gate_of_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::integer, hashtext(NEW.dataset));
    RETURN NEW;
END $$;
CREATE TRIGGER at_begin AFTER INSERT OR UPDATE ON sync_attempt
    FOR EACH ROW WHEN (NEW.state = 'syncing') EXECUTE FUNCTION gate_of_attempt({at_begin});
CREATE TRIGGER at_success AFTER UPDATE OF state ON sync_attempt
    FOR EACH ROW WHEN (NEW.state = 'success') EXECUTE FUNCTION gate_of_attempt({at_success});
CREATE TRIGGER after_event AFTER UPDATE OF materialized_at ON sync_attempt
    FOR EACH ROW EXECUTE FUNCTION gate_of_attempt({after_event});
