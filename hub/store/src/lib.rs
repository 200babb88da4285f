//! Resources and read models behind one interface: SQLite by default.
