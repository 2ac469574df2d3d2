-- What each process had to do, one row for each interval (a minute as a rule) and pipeline. Rows are
-- deleted after some days; nothing but `forebay advise` reads them.

CREATE TABLE load_history (
    id                BIGINT      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at        TIMESTAMPTZ NOT NULL,                   -- of the interval, a multiple of its length
    span_ms           BIGINT      NOT NULL CHECK (span_ms > 0), -- looked at for
    process           TEXT        COLLATE "C" NOT NULL,       -- host:pid
    roles             TEXT        COLLATE "C" NOT NULL,
    pipeline          TEXT        COLLATE "C" NOT NULL,
    buffer            TEXT        COLLATE "C" NOT NULL,       -- its kind
    lanes             BIGINT      NOT NULL CHECK (lanes > 0),
    batch_max         BIGINT      NOT NULL CHECK (batch_max > 0),
    settled           BIGINT      NOT NULL,
    finished          BIGINT      NOT NULL,                   -- settled, there already, or buried
    batches           BIGINT      NOT NULL,
    failed            BIGINT      NOT NULL,                   -- attempts at a batch
    peak_per_s        BIGINT      NOT NULL,
    worked_ms         BIGINT      NOT NULL,                   -- all lanes together
    worked_ms_max     BIGINT      NOT NULL,                   -- the busiest lane
    backlog_first     BIGINT      NOT NULL,                   -- ready and leased
    backlog_last      BIGINT      NOT NULL,
    backlog_max       BIGINT      NOT NULL,
    oldest_age_ms_max BIGINT      NOT NULL
);

CREATE INDEX idx_fds_load_history_started_at ON load_history (started_at);
