//! Resources as people write and read them, and their JSON Schemas.
