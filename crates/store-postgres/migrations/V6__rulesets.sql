-- The thresholds of each version of the fraud rules. Two rulesets are the same if their text is.
CREATE TABLE rulesets (
    version       BIGINT      PRIMARY KEY,
    rules         TEXT        COLLATE "C" UNIQUE,             -- JSON; NULL where rows are older than this table
    first_used_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT rulesets_rules_check CHECK (octet_length(rules) <= 2048)
);

INSERT INTO rulesets (version, rules, first_used_at)
SELECT ruleset_version, NULL, min(coalesce(processed_at, accepted_at))
FROM transactions GROUP BY ruleset_version;
