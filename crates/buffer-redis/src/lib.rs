//! The buffer contract on Redis.
