//! What differs between two sides: runs, rungs of a ladder, windows with and without an instrument.

pub mod difference;
pub mod freshness;
pub mod headline;
pub mod ladder;
pub mod observer;
pub mod prediction;
