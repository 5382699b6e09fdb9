//! Addresses to frames, with inlines; a miss carries its reason.
