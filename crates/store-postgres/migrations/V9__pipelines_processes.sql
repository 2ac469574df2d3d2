-- What operators want of each pipeline, and the processes that run.

CREATE TABLE pipelines (
    name     TEXT        COLLATE "C" PRIMARY KEY,
    paused   BOOLEAN     NOT NULL DEFAULT false,
    since_at TIMESTAMPTZ NOT NULL DEFAULT now(),               -- it is paused, or is not
    reason   TEXT        COLLATE "C" NOT NULL DEFAULT '',
    lanes    BIGINT      CHECK (lanes BETWEEN 1 AND 256),      -- NULL: as configured
    revision BIGINT      NOT NULL DEFAULT 1
);

CREATE TABLE processes (
    process   TEXT        COLLATE "C" PRIMARY KEY,
    host      TEXT        COLLATE "C" NOT NULL,
    pid       BIGINT      NOT NULL,
    version   TEXT        COLLATE "C" NOT NULL,
    roles     TEXT        COLLATE "C" NOT NULL,
    pipelines TEXT        COLLATE "C" NOT NULL,                -- a line each: name, state and lanes
    joined_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    heard_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
