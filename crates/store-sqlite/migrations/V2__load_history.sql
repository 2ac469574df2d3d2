-- What each process had to do, one row for each interval (a minute as a rule) and pipeline. Rows are
-- deleted after some days; nothing but `forebay advise` reads them.

CREATE TABLE load_history (
    id                INTEGER PRIMARY KEY,
    started_at        INTEGER NOT NULL,                       -- of the interval, a multiple of its length
    span_ms           INTEGER NOT NULL CHECK (span_ms > 0),   -- looked at for
    process           TEXT    NOT NULL,                       -- host:pid
    roles             TEXT    NOT NULL,
    pipeline          TEXT    NOT NULL,
    buffer            TEXT    NOT NULL,                       -- its kind
    lanes             INTEGER NOT NULL CHECK (lanes > 0),
    batch_max         INTEGER NOT NULL CHECK (batch_max > 0),
    settled           INTEGER NOT NULL,
    finished          INTEGER NOT NULL,                       -- settled, there already, or buried
    batches           INTEGER NOT NULL,
    failed            INTEGER NOT NULL,                       -- attempts at a batch
    peak_per_s        INTEGER NOT NULL,
    worked_ms         INTEGER NOT NULL,                       -- all lanes together
    worked_ms_max     INTEGER NOT NULL,                       -- the busiest lane
    backlog_first     INTEGER NOT NULL,                       -- ready and leased
    backlog_last      INTEGER NOT NULL,
    backlog_max       INTEGER NOT NULL,
    oldest_age_ms_max INTEGER NOT NULL
);

CREATE INDEX idx_load_history_started_at ON load_history (started_at);
