-- Places of a buffer that counted as waiting until a process read past them, and held no event.

ALTER TABLE buffer_moves ADD COLUMN start_empty INTEGER NOT NULL DEFAULT 0;
ALTER TABLE buffer_move_processes ADD COLUMN empty_source INTEGER NOT NULL DEFAULT 0;
ALTER TABLE buffer_move_processes ADD COLUMN empty_target INTEGER NOT NULL DEFAULT 0;
