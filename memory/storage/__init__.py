"""Where records are kept: the protocol of a store, SQLite and PostgreSQL behind it, encryption and snapshots."""
