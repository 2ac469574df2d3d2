-- A move is recorded under the name of its pipeline, and its buffers by what they are. What an earlier
-- version recorded keeps both URLs in its name.

ALTER TABLE buffer_moves ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE buffer_moves ADD COLUMN target TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE buffer_move_processes ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE buffer_move_processes ADD COLUMN target TEXT COLLATE "C" NOT NULL DEFAULT '';
