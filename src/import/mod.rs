//! Recordings made by hand (metrics dumps, folded stacks, dbbench output) become a stored run.
