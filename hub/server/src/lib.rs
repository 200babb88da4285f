//! The running hub: REST, doors, functions, driver supervision and the wiring of all rooms.
