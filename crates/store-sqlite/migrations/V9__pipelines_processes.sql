-- What operators want of each pipeline, and the processes that run.

CREATE TABLE pipelines (
    name     TEXT    NOT NULL PRIMARY KEY,
    paused   INTEGER NOT NULL CHECK (paused IN (0, 1)),
    since_at INTEGER NOT NULL,                                 -- it is paused, or is not
    reason   TEXT    NOT NULL DEFAULT '',
    lanes    INTEGER CHECK (lanes BETWEEN 1 AND 256),          -- NULL: as configured
    revision INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE processes (
    process   TEXT    NOT NULL PRIMARY KEY,
    host      TEXT    NOT NULL,
    pid       INTEGER NOT NULL,
    version   TEXT    NOT NULL,
    roles     TEXT    NOT NULL,
    pipelines TEXT    NOT NULL,                                -- a line each: name, state and lanes
    joined_at INTEGER NOT NULL,
    heard_at  INTEGER NOT NULL
);
