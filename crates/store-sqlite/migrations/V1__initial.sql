-- Times are milliseconds since the Unix epoch, UTC. Amounts are whole KRW. Flags are 0 or 1.

CREATE TABLE transactions (
    id               INTEGER PRIMARY KEY,                     -- grows in order of settling
    tx_id            TEXT    NOT NULL UNIQUE,                 -- the producer's identity: the dedupe mark
    card_number      TEXT    NOT NULL,                        -- masked unless configured otherwise
    card_fingerprint BLOB    NOT NULL,                        -- keyed hash of the full number, 16 bytes
    user_id          TEXT    NOT NULL,
    tier             TEXT    NOT NULL CHECK (tier IN ('vip', 'premium', 'normal')),
    amount           INTEGER NOT NULL CHECK (amount >= 0),
    merchant         TEXT    NOT NULL,
    category         TEXT    NOT NULL,
    is_fraud         INTEGER NOT NULL DEFAULT 0,
    fraud_rules      TEXT    NOT NULL DEFAULT '[]',           -- JSON array of rule names, in rule order
    fraud_detail     TEXT,                                    -- JSON array: each hit explained
    ruleset_version  INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,                        -- when it was paid
    accepted_at      INTEGER NOT NULL,                        -- when the buffer took it
    processed_at     INTEGER                                  -- when it was settled
);

CREATE INDEX idx_transactions_created_at ON transactions (created_at);
CREATE INDEX idx_transactions_card_number ON transactions (card_number);
CREATE INDEX idx_transactions_is_fraud ON transactions (is_fraud) WHERE is_fraud = 1;
-- A card's history is counted and added up from this index alone.
CREATE INDEX idx_transactions_card_history ON transactions (card_fingerprint, created_at, amount);

-- For people and scripts: the same rows, with ISO 8601 times.
CREATE VIEW transactions_readable AS
SELECT id, tx_id, card_number, lower(hex(card_fingerprint)) AS card_fingerprint, user_id, tier, amount,
       merchant, category, is_fraud, fraud_rules, fraud_detail, ruleset_version,
       strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', accepted_at / 1000.0, 'unixepoch') AS accepted_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', processed_at / 1000.0, 'unixepoch') AS processed_at
FROM transactions;

CREATE TABLE daily_transaction_summary (
    id            INTEGER PRIMARY KEY,
    summary_date  TEXT    NOT NULL UNIQUE,                    -- YYYY-MM-DD, of the summary's time zone
    total_count   INTEGER NOT NULL,
    total_amount  INTEGER NOT NULL,
    avg_amount    REAL    NOT NULL,
    max_amount    INTEGER NOT NULL,
    unique_cards  INTEGER NOT NULL,
    fraud_count   INTEGER NOT NULL,
    fraud_amount  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
);

CREATE TABLE pipeline_completion_log (
    id            INTEGER PRIMARY KEY,
    pipeline_name TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    completed_at  INTEGER NOT NULL,
    settled       INTEGER NOT NULL,
    duplicates    INTEGER NOT NULL,
    dead          INTEGER NOT NULL
);

CREATE INDEX idx_pipeline_completion_log_pipeline
    ON pipeline_completion_log (pipeline_name, completed_at);

CREATE TABLE sla_definitions (
    id               INTEGER PRIMARY KEY,
    pipeline_name    TEXT    NOT NULL,
    sla_type         TEXT    NOT NULL CHECK (sla_type IN ('hourly', 'daily', 'realtime')),
    deadline_minutes INTEGER,                                 -- after the slot's start
    owner            TEXT,
    slack_channel    TEXT,
    enabled          INTEGER NOT NULL DEFAULT 1,
    time_zone        TEXT    NOT NULL DEFAULT 'Asia/Seoul',   -- what slots are computed in
    UNIQUE (pipeline_name, sla_type)
);

INSERT INTO sla_definitions
    (id, pipeline_name, sla_type, deadline_minutes, owner, slack_channel, enabled)
VALUES
    (1, 'consumer_batch', 'hourly', 5, 'data-team', '#data-alerts', 1),
    (2, 'daily_aggregation', 'daily', 540, 'data-team', '#data-alerts', 1);

CREATE TABLE sla_violations (
    id            INTEGER PRIMARY KEY,
    sla_id        INTEGER NOT NULL REFERENCES sla_definitions (id),
    pipeline_name TEXT    NOT NULL,
    sla_type      TEXT    NOT NULL,
    slot_start    INTEGER NOT NULL,
    expected_by   INTEGER NOT NULL,
    detected_at   INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('late', 'missing', 'failed', 'excused')),
    notified_at   INTEGER,
    resolved_at   INTEGER,
    UNIQUE (pipeline_name, sla_type, slot_start)
);
