//! Filters and their index, queues, retry, limits, dead letters.
