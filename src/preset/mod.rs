//! Presets: all that is particular to a server, as data.
