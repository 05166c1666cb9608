-- The state machine moves to database/functions.sql; these functions are replaced there.
DROP FUNCTION sync_open_batch(text, text, date[], text, text, date, text);
DROP FUNCTION sync_project_batch(bigint, text, text);
