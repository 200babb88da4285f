//! Read models: what people list, fed from the log by a cursor of its own, droppable and rebuildable.
