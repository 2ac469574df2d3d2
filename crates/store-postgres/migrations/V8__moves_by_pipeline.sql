-- Each pipeline has moves of its own. The moves of earlier versions are those of the payments.

-- Version 3 recorded both URLs as the name, and one row for each move: the last one counts. Where its buffers
-- were given new addresses since, it still has that name.
DELETE FROM buffer_moves WHERE name <> (SELECT name FROM buffer_moves ORDER BY changed_at DESC LIMIT 1);
UPDATE buffer_moves SET source = CASE WHEN source = '' THEN name ELSE source END, name = 'payments';
DELETE FROM buffer_move_processes AS earlier USING buffer_move_processes AS later
    WHERE later.process = earlier.process AND (later.reported_at, later.name) > (earlier.reported_at, earlier.name);
UPDATE buffer_move_processes SET source = name WHERE source = '';
UPDATE buffer_move_processes SET name = 'payments';

ALTER TABLE buffer_moves ADD COLUMN start_done BIGINT NOT NULL DEFAULT 0;    -- acked or buried

-- The buffers that moves before the recorded one have left.
CREATE TABLE buffers_left (
    name   TEXT   COLLATE "C" NOT NULL,                       -- of the pipeline
    step   BIGINT NOT NULL,                                   -- the first one of the move that came next
    buffer TEXT   COLLATE "C" NOT NULL,
    PRIMARY KEY (name, step)
);

-- A running program of an earlier version deletes the moves of other pipelines when it begins one: its
-- statement fails from now on.
CREATE RULE keep_moves AS ON DELETE TO buffer_moves DO INSTEAD NOTHING;
