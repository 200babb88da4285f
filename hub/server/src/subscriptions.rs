//! From a subscription as written to a lane of the router.
