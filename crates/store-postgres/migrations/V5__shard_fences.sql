-- Which process settled payments of a shard of a shared buffer last. By the token a batch finds out, in
-- its own transaction, whether another process has taken the shard over. The owner is a term of
-- settling_term: each process that settles has one of its own.
CREATE TABLE shard_fences (
    shard BIGINT PRIMARY KEY,
    owner BIGINT NOT NULL,
    token BIGINT NOT NULL
);
