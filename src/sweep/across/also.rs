//! Processes of further hosts that are sampled in the same windows, as the conductor sees them: the database behind the
//! server, on a host of its own. Invariant: whatever becomes of such a host or of the way to it costs its own samples
//! only, with the reason; every instant that comes from it is brought to the clock that the window is stored by.

use super::super::{Request, Stop, with_ends, without_copies};
use super::also_serve::AlsoOrder;
use super::target_host::TURN;
use super::{Ask, Tell};
use crate::clock::{ClockRelation, Span};
use crate::load::LoadError;
use crate::remote::{Frame, Link, LinkOptions};
use crate::run::{Companion, CompanionHost, CpuAccount, Missing, Part, pprof};
use crate::sample::SamplingReport;
use crate::sweep::Event;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What a host may take to open its sampler: it reads the tables of every file that the process has mapped.
const OPEN_LIMIT: Duration = Duration::from_secs(300);
/// What it may take to begin: the load waits for it.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);
/// What it may take to find names for a window's stacks.
const CUT_LIMIT: Duration = Duration::from_secs(120);

/// A process of another host, as the user asks for it.
#[derive(Clone, Debug)]
pub struct AlsoRequest {
    /// How the host is reached.
    pub link: LinkOptions,
    /// Number or name of the process there.
    pub process: String,
    /// Take the copy of wireprof away from there at the end.
    pub clean: bool,
}

/// What is asked of such a host. A turn is one window's, so that late answers are known as such.
#[derive(Serialize, Deserialize)]
pub(super) enum AlsoAsk {
    /// Once, at first: open the sampler.
    Open(Box<AlsoOrder>),
    /// Sample from now on; what was sampled before is forgotten.
    Begin { turn: u64 },
    /// Sample no longer.
    Stop,
    /// What was sampled within the window. The window is by the clock that it is stored by, which is so many ns ahead
    /// of the clock there; its parts end so many ns after its start.
    Cut { turn: u64, window: Span, ahead: i64, ends: Vec<u64> },
}

/// What it tells.
#[derive(Serialize, Deserialize)]
pub(super) enum AlsoTell {
    /// The sampler is open; with what is to be noted of it.
    Open { notes: Vec<String> },
    /// Samples are taken.
    Begun { turn: u64 },
    /// One companion; its profile is the payload.
    Companion { turn: u64, process: String, sampling: Box<SamplingReport>, account: Option<CpuAccount> },
    /// All companions of the window were sent.
    Cut { turn: u64 },
    /// There is nothing of this window.
    Lost { turn: u64, why: String },
}

/// wireprof on such a host, with its sampler open.
pub struct AlsoHost {
    asked: AlsoRequest,
    link: Link<Ask, Tell>,
    turn: u64,
    /// Why there will be nothing of the window under way.
    lost: Option<String>,
}

/// A window whose samples are wanted.
pub struct AlsoWindow<'a> {
    /// By the clock that it is stored by.
    pub stored: Span,
    /// By this host's clock.
    pub here: Span,
    /// ns that `here` can be wrong by.
    pub bound: u64,
    /// Its parts end so many ns after its start.
    pub ends: &'a [u64],
}

impl AlsoWindow<'_> {
    /// By how many ns the clock that the window is stored by is ahead of another host's, which relates to this host's
    /// as it says; and what that can be wrong by within the window, where the two are taken to run as one.
    fn ahead_of(&self, there: &ClockRelation) -> (i64, u64) {
        let middle = there.there(self.here.midpoint());
        let apart = there.drift.abs() * self.here.nanos() as f64 / 2.0;
        let ahead = self.stored.midpoint().wrapping_sub(middle) as i64;
        (ahead, there.bound + self.bound + apart.ceil() as u64)
    }
}

impl AlsoHost {
    /// Opens the samplers of all that are asked for; gives them with what is to be noted of the run.
    ///
    /// # Errors
    /// A host that cannot be reached, a process that is not there, or no right to sample it.
    pub fn open_all(
        request: &Request,
        stop: &Stop,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(Vec<AlsoHost>, Vec<String>)> {
        let (mut hosts, mut notes) = (Vec::new(), Vec::new());
        for asked in &request.observe.also_hosts {
            let Some(sampling) = &request.observe.sampling else {
                let why = "--also ssh://... samples a process: leave --no-sampling out";
                bail!(LoadError::Usage(why.into()));
            };
            let order = AlsoOrder { process: asked.process.clone(), sampling: sampling.clone() };
            tell(Event::Preparing(&format!("starting wireprof on {}", asked.link.host)));
            let opened = Link::open(asked.link.clone(), &mut |text| tell(Event::Preparing(text))).and_then(|link| {
                let host = AlsoHost { asked: asked.clone(), link, turn: 0, lost: None };
                let noted = host.open(order, stop)?;
                hosts.push(host);
                Ok(noted)
            });
            match opened {
                Ok(noted) => notes.extend(noted.into_iter().map(|text| format!("on {}: {text}", asked.link.host))),
                // The copies on the others go with them.
                Err(error) => {
                    let error = without_copies(error, &asked.link, asked.clean);
                    return Err(with_ends(error, [end_all(hosts)]));
                }
            }
        }
        Ok((hosts, notes))
    }

    fn open(&self, order: AlsoOrder, stop: &Stop) -> Result<Vec<String>> {
        self.send(AlsoAsk::Open(Box::new(order)))?;
        self.opened(stop)
    }

    fn opened(&self, stop: &Stop) -> Result<Vec<String>> {
        let deadline = Instant::now() + OPEN_LIMIT;
        while Instant::now() < deadline {
            stop.check()?;
            match self.link.receive(TURN)?.map(|frame| frame.message) {
                Some(Tell::Also(AlsoTell::Open { notes })) => return Ok(notes),
                Some(Tell::Refused(refused)) => {
                    return Err(anyhow::Error::new(refused).context(format!("on {}", self.link.host())));
                }
                _ => {}
            }
        }
        bail!("{} has not opened its sampler in {} s", self.link.host(), OPEN_LIMIT.as_secs())
    }

    fn send(&self, ask: AlsoAsk) -> Result<()> {
        self.link.send(&Ask::Also(ask))
    }

    fn begin(&mut self) -> Result<()> {
        self.turn += 1;
        self.send(AlsoAsk::Begin { turn: self.turn })?;
        let deadline = Instant::now() + BEGIN_LIMIT;
        while Instant::now() < deadline {
            match self.link.receive(TURN)?.map(|frame| frame.message) {
                Some(Tell::Also(AlsoTell::Begun { turn })) if turn == self.turn => return Ok(()),
                Some(Tell::Also(AlsoTell::Lost { turn, why })) if turn == self.turn => bail!(why),
                _ => {}
            }
        }
        bail!("it had not begun to sample {} s after it was asked to", BEGIN_LIMIT.as_secs())
    }

    /// What was sampled in the window that has just ended.
    fn cut(&self, window: &AlsoWindow, stop: &Stop) -> Result<Vec<Companion>> {
        if let Some(why) = &self.lost {
            bail!("{why}");
        }
        let before = self.link.bytes_received();
        let relation = self.link.clocks(window.here).context("its clock was not read in the window")?;
        let (ahead, bound) = window.ahead_of(&relation);
        let mut host = CompanionHost {
            host: self.link.host().to_string(),
            bound,
            round_trip: relation.round_trip,
            readings: relation.readings,
            bytes: 0,
        };
        let (turn, ends) = (self.turn, window.ends.to_vec());
        self.send(AlsoAsk::Cut { turn, window: window.stored, ahead, ends })?;
        let mut found = self.companions(stop)?;
        host.bytes = self.link.bytes_received() - before;
        found.iter_mut().for_each(|own| own.host = Some(host.clone()));
        Ok(found)
    }

    fn companions(&self, stop: &Stop) -> Result<Vec<Companion>> {
        let (mut found, deadline) = (Vec::new(), Instant::now() + CUT_LIMIT);
        while Instant::now() < deadline {
            if stop.requested() {
                bail!("the run was interrupted before its samples had come");
            }
            let Some(Frame { message, payload }) = self.link.receive(TURN)? else { continue };
            match message {
                Tell::Also(AlsoTell::Companion { turn, process, sampling, account }) if turn == self.turn => {
                    let profile = Some(pprof::decode(&payload).context("its profile cannot be read")?);
                    let process = self.called(&process);
                    found.push(Companion { process, sampling: *sampling, account, server: None, host: None, profile });
                }
                Tell::Also(AlsoTell::Cut { turn }) if turn == self.turn => return Ok(found),
                Tell::Also(AlsoTell::Lost { turn, why }) if turn == self.turn => bail!(why),
                _ => {}
            }
        }
        bail!("its samples had not come {} s after the window", CUT_LIMIT.as_secs())
    }

    /// Its name among the companions: `postgres@db1`.
    fn called(&self, process: &str) -> String {
        let host = self.link.host();
        let port = host.port.map_or(String::new(), |port| format!(":{port}"));
        format!("{process}@{}{port}", host.name)
    }
}

/// Has all of them sample from now on. Blocks until they do.
pub fn begin_all(hosts: &mut [AlsoHost]) {
    for host in hosts {
        host.lost = host.begin().err().map(|error| format!("{error:#}"));
    }
}

/// Has all of them sample no longer.
pub fn stop_all(hosts: &[AlsoHost]) {
    // A link that is down is told when the samples are asked for.
    hosts.iter().for_each(|host| drop(host.send(AlsoAsk::Stop)));
}

/// What was sampled in a window on all of them; what did not come has its reason. Blocks.
pub fn cut_all(hosts: &[AlsoHost], window: &AlsoWindow, stop: &Stop, missing: &mut Vec<Missing>) -> Vec<Companion> {
    let mut found = Vec::new();
    for host in hosts {
        match host.cut(window, stop) {
            Ok(companions) => found.extend(companions),
            Err(error) => missing.push(Missing {
                what: Part::Companion,
                why: format!("{} of {} was not sampled: {error:#}", host.asked.process, host.link.host()),
                remedy: format!("see whether `ssh {}` works, and whether the process runs there", host.link.host()),
            }),
        }
    }
    found
}

/// Ends all of them, and takes the copies away where that was asked for.
///
/// # Errors
/// A copy that could not be taken away.
pub fn end_all(hosts: Vec<AlsoHost>) -> Result<()> {
    let mut ended = Ok(());
    for host in hosts {
        let AlsoHost { asked, link, .. } = host;
        drop(link);
        if asked.clean {
            ended = ended.and(asked.link.remove_copies());
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_a_third_clock_are_brought_to_that_of_the_window_and_the_bounds_add() {
        const SECOND: u64 = 1_000_000_000;
        // The third host's clock is an hour ahead of this one's and gains 100 millionths; the window's is 3 s behind.
        let relation = ClockRelation {
            at: 100 * SECOND,
            offset: 3_600 * SECOND as i64,
            drift: 100e-6,
            bound: 1_000,
            round_trip: 2_000,
            readings: 9,
        };
        let here = Span::new(95 * SECOND, 105 * SECOND);
        let stored = Span::new(92 * SECOND, 102 * SECOND);
        let (ahead, bound) = AlsoWindow { stored, here, bound: 500, ends: &[] }.ahead_of(&relation);
        assert_eq!(ahead, -3_603 * SECOND as i64);
        assert_eq!(bound, 1_000 + 500 + 500_000, "half of the window's drift besides");
        for at in [here.start, here.midpoint(), here.end] {
            let stored_as = relation.there(at).wrapping_add_signed(ahead);
            assert!(stored_as.abs_diff(at - 3 * SECOND) <= bound, "{at}");
        }
    }
}
