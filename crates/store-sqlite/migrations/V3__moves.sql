-- A pipeline on its way from one buffer to another, and the processes that go along.

CREATE TABLE buffer_moves (
    name             TEXT    NOT NULL PRIMARY KEY,            -- which two buffers, without passwords
    step             INTEGER NOT NULL,
    share_before     INTEGER NOT NULL CHECK (share_before BETWEEN 0 AND 100),
    share            INTEGER NOT NULL CHECK (share BETWEEN 0 AND 100),
    phase            TEXT    NOT NULL CHECK (phase IN ('hold', 'drain', 'open')),
    start_settled    INTEGER NOT NULL,                        -- what was there when it began
    start_pending    INTEGER NOT NULL,
    start_dead       INTEGER NOT NULL,
    start_duplicates INTEGER NOT NULL,
    start_offered    INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL
);

CREATE TABLE buffer_move_processes (
    name           TEXT    NOT NULL,
    process        TEXT    NOT NULL,
    step           INTEGER NOT NULL,                          -- the one it goes by
    drained        INTEGER NOT NULL,
    ended          INTEGER NOT NULL,
    offered_source INTEGER NOT NULL,
    offered_target INTEGER NOT NULL,
    done_source    INTEGER NOT NULL,                          -- acked or buried
    done_target    INTEGER NOT NULL,
    pending_source INTEGER NOT NULL,                          -- as it sees the buffers
    pending_target INTEGER NOT NULL,
    dead_source    INTEGER NOT NULL,
    dead_target    INTEGER NOT NULL,
    reported_at    INTEGER NOT NULL,
    PRIMARY KEY (name, process)
);
