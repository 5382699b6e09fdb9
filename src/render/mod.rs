//! One view model rendered as terminal text, Markdown, JSON; flamegraph SVGs through inferno. Computes nothing.
