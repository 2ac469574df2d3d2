//! The store's ports on PostgreSQL.
