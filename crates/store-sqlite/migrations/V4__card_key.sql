-- What the card fingerprint key makes of a fixed text: every process of the store must have the same key.
CREATE TABLE card_key (
    id        INTEGER PRIMARY KEY CHECK (id = 1),             -- one row, or none before the first opening
    key_check BLOB    NOT NULL
);
