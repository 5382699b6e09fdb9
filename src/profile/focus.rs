//! Focus: the part of a profile under chosen functions, with what lies outside always kept.
pub struct Focus;
pub struct Split;
