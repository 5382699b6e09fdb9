//! Sending profiles to a continuous profiler. Invariant: a profile counts as sent only when the receiver said that it
//! took it; nothing is sent anywhere but to the address that the user named, no redirection is followed, and no error
//! shows a token.

mod receiver;
mod send;

pub use receiver::{Kind, Receiver};
pub use send::{Bounds, Refusal, Sender};
