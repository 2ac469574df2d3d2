-- Places of a buffer that counted as waiting until a process read past them, and held no event.

ALTER TABLE buffer_moves ADD COLUMN start_empty BIGINT NOT NULL DEFAULT 0;
ALTER TABLE buffer_move_processes ADD COLUMN empty_source BIGINT NOT NULL DEFAULT 0;
ALTER TABLE buffer_move_processes ADD COLUMN empty_target BIGINT NOT NULL DEFAULT 0;
