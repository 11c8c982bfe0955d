//! The registry in Redis, beat by beat and from both ends.
