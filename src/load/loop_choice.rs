//! Whether load threads send and receive through io_uring or epoll, and why: stored with each window, and told in
//! words. Invariant: all threads of a level go through the same, and there is a reason wherever it is epoll.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// Clients of each thread from which on io_uring is used: of fewer, too few requests go out together for a gain that
/// could be told from chance.
pub const FEWEST_CLIENTS: usize = 8;

/// Through what a load thread sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopKind {
    /// epoll(7): a system call for each request and each answer.
    Epoll,
    /// io_uring(7): system calls for many of them.
    IoUring,
}

impl Display for LoopKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoopKind::Epoll => "epoll",
            LoopKind::IoUring => "io_uring",
        })
    }
}

/// Through what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopChoice {
    /// Of all load threads.
    pub through: LoopKind,
    /// Why it is epoll; `None`: it is not, or it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl LoopChoice {
    /// epoll, for this reason.
    pub fn epoll(because: Option<String>) -> LoopChoice {
        LoopChoice { through: LoopKind::Epoll, because }
    }

    /// What is wished, else by the rule, where the thread with the fewest clients has so many.
    pub fn by_rule(wish: Option<LoopKind>, clients: usize, encrypted: bool, works: bool) -> LoopChoice {
        let because = |why: &str| LoopChoice::epoll(Some(why.into()));
        match wish {
            Some(LoopKind::Epoll) => LoopChoice::epoll(None),
            _ if encrypted => because("connections are encrypted"),
            // Together they would wait for the work on all answers.
            None if works => because("it works on each answer before it sends"),
            None if clients < FEWEST_CLIENTS => because("a thread has fewer than 8 clients"),
            _ => LoopChoice { through: LoopKind::IoUring, because: None },
        }
    }

    /// As words.
    pub fn told(&self) -> String {
        let because = self.because.iter().map(|because| format!(", as {because}")).collect::<String>();
        format!("through {}{because}", self.through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_told_with_its_reason() {
        let of = |wish, clients, encrypted| LoopChoice::by_rule(wish, clients, encrypted, false).told();
        assert_eq!(of(None, 8, false), "through io_uring");
        let works = LoopChoice::by_rule(None, 8, false, true).told();
        assert_eq!(works, "through epoll, as it works on each answer before it sends");
        assert_eq!(of(None, FEWEST_CLIENTS - 1, false), "through epoll, as a thread has fewer than 8 clients");
        assert_eq!(of(None, 64, true), "through epoll, as connections are encrypted");
        assert_eq!(of(Some(LoopKind::Epoll), 64, true), "through epoll");
        assert_eq!(of(Some(LoopKind::IoUring), 1, false), "through io_uring");
    }
}
