//! CloudEvents to a web hook.
