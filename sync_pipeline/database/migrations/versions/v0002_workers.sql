-- A worker is a process at the days of one run. It is here for as long as it is at work.
CREATE TABLE sync_worker (
    run_id           text        NOT NULL,
    place            text        NOT NULL,
    pid              integer     NOT NULL,
    process_started  double precision NOT NULL,
    started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at     timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT sync_worker_pkey PRIMARY KEY (run_id, place, pid)
);

-- What the reconciler found untrue and put right, for a person to read.
CREATE TABLE sync_correction (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    corrected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what         text        NOT NULL,
    why          text        NOT NULL,
    dataset      text,
    sync_date    date,
    batch_key    text,
    run_id       text,

    CONSTRAINT sync_correction_pkey PRIMARY KEY (id)
);

ALTER TABLE sync_attempt ADD COLUMN told_at timestamptz;
-- History from before this version was told by the worker that wrote it.
UPDATE sync_attempt SET told_at = ended_at WHERE state = 'success';
CREATE INDEX sync_attempt_untold ON sync_attempt (id) WHERE state = 'success' AND told_at IS NULL;

COMMENT ON TABLE sync_worker IS 'Processes at work, with their signs of life; gone when they end.';
COMMENT ON COLUMN sync_worker.run_id IS 'Dagster run it works for.';
COMMENT ON COLUMN sync_worker.place IS 'Machine, since its start, and process namespace.';
COMMENT ON COLUMN sync_worker.pid IS 'Process id in that place.';
COMMENT ON COLUMN sync_worker.process_started IS 'When the process began, Unix seconds.';
COMMENT ON COLUMN sync_worker.started_at IS 'When it signed on.';
COMMENT ON COLUMN sync_worker.heartbeat_at IS 'Its last sign of life.';

COMMENT ON TABLE sync_correction IS 'What the reconciler put right, and why.';
COMMENT ON COLUMN sync_correction.id IS 'Identity of the correction.';
COMMENT ON COLUMN sync_correction.corrected_at IS 'When it was made.';
COMMENT ON COLUMN sync_correction.what IS 'What was changed.';
COMMENT ON COLUMN sync_correction.why IS 'What was found untrue.';
COMMENT ON COLUMN sync_correction.dataset IS 'Dataset, where it is about one.';
COMMENT ON COLUMN sync_correction.sync_date IS 'Day, where it is about one.';
COMMENT ON COLUMN sync_correction.batch_key IS 'Batch, where it is about one.';
COMMENT ON COLUMN sync_correction.run_id IS 'Dagster run, where it is about one.';

COMMENT ON COLUMN sync_attempt.told_at IS
    'When Dagster was told of the success as a materialization; NULL if not yet.';
