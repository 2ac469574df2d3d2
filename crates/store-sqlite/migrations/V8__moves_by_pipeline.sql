-- Each pipeline has moves of its own. The moves of earlier versions are those of the payments.

-- Version 3 recorded both URLs as the name, and one row for each move: the last one counts. Where its buffers
-- were given new addresses since, it still has that name.
DELETE FROM buffer_moves WHERE rowid <> (SELECT rowid FROM buffer_moves ORDER BY changed_at DESC LIMIT 1);
UPDATE buffer_moves SET source = CASE WHEN source = '' THEN name ELSE source END, name = 'payments';
DELETE FROM buffer_move_processes WHERE EXISTS (
    SELECT 1 FROM buffer_move_processes AS later
    WHERE later.process = buffer_move_processes.process
      AND (later.reported_at, later.rowid) > (buffer_move_processes.reported_at, buffer_move_processes.rowid));
UPDATE buffer_move_processes SET source = name WHERE source = '';
UPDATE buffer_move_processes SET name = 'payments';

ALTER TABLE buffer_moves ADD COLUMN start_done INTEGER NOT NULL DEFAULT 0;   -- acked or buried

-- The buffers that moves before the recorded one have left.
CREATE TABLE buffers_left (
    name   TEXT    NOT NULL,                                  -- of the pipeline
    step   INTEGER NOT NULL,                                  -- the first one of the move that came next
    buffer TEXT    NOT NULL,
    PRIMARY KEY (name, step)
);

-- A running program of an earlier version deletes the moves of other pipelines when it begins one.
CREATE TRIGGER keep_moves BEFORE DELETE ON buffer_moves BEGIN
    SELECT RAISE(ABORT, 'this program is older than its store; restart it with the newer version');
END;
