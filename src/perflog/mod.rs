//! The performance log: parse, splice, check; never loses a byte of what a person wrote.
