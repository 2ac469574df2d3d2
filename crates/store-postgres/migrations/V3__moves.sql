-- A pipeline on its way from one buffer to another, and the processes that go along.

CREATE TABLE buffer_moves (
    name             TEXT        COLLATE "C" PRIMARY KEY,     -- which two buffers, without passwords
    step             BIGINT      NOT NULL,
    share_before     SMALLINT    NOT NULL CHECK (share_before BETWEEN 0 AND 100),
    share            SMALLINT    NOT NULL CHECK (share BETWEEN 0 AND 100),
    phase            TEXT        COLLATE "C" NOT NULL CHECK (phase IN ('hold', 'drain', 'open')),
    start_settled    BIGINT      NOT NULL,                    -- what was there when it began
    start_pending    BIGINT      NOT NULL,
    start_dead       BIGINT      NOT NULL,
    start_duplicates BIGINT      NOT NULL,
    start_offered    BIGINT      NOT NULL,
    changed_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE buffer_move_processes (
    name           TEXT        COLLATE "C" NOT NULL,
    process        TEXT        COLLATE "C" NOT NULL,
    step           BIGINT      NOT NULL,                      -- the one it goes by
    drained        BOOLEAN     NOT NULL,
    ended          BOOLEAN     NOT NULL,
    offered_source BIGINT      NOT NULL,
    offered_target BIGINT      NOT NULL,
    done_source    BIGINT      NOT NULL,                      -- acked or buried
    done_target    BIGINT      NOT NULL,
    pending_source BIGINT      NOT NULL,                      -- as it sees the buffers
    pending_target BIGINT      NOT NULL,
    dead_source    BIGINT      NOT NULL,
    dead_target    BIGINT      NOT NULL,
    reported_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (name, process)
);
