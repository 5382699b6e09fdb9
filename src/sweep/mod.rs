//! The conductor: the only place where the stages meet in time.
