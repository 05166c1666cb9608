CREATE TABLE sync_source_columns (
    dataset text        NOT NULL,
    columns jsonb       NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT sync_source_columns_pkey PRIMARY KEY (dataset)
);

COMMENT ON TABLE sync_source_columns IS
    'The columns that a dataset''s source had when it was last opened, to know what has changed.';
COMMENT ON COLUMN sync_source_columns.dataset IS 'Name of the dataset.';
COMMENT ON COLUMN sync_source_columns.columns IS 'Type by column, as PostgreSQL writes it.';
COMMENT ON COLUMN sync_source_columns.seen_at IS 'When they were first seen so.';
