//! The side of a process that another host wants sampled in its windows. Invariant: it changes nothing and keeps
//! nothing on disk; a recording ends with the window that it is of, or with the asking side.

use super::also::{AlsoAsk, AlsoTell};
use super::order::at_the_rate_of_this_host;
use super::serve::{Asking, receive};
use super::{Ask, Tell};
use crate::clock::{Nanos, Span};
use crate::debuginfod::Debuginfod;
use crate::remote::Refused;
use crate::run::{Companion, pprof};
use crate::sample::{self, Chosen, RawSamples, Recording, Sampled, Sampler, SamplingReport, choose};
use crate::sweep::ObserveRequest;
use crate::sweep::assemble::companions_alone;
use crate::sweep::processes::companions;
use crate::symbol::{self, Symbolizer};
use crate::target::{Role, SchedulerDelta, Snapshot, Watched, WatchedProcess, difference};
use anyhow::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is to be sampled, as it goes over the link.
#[derive(Serialize, Deserialize)]
pub(super) struct AlsoOrder {
    /// Number or name of the process.
    pub process: String,
    pub sampling: sample::Options,
}

/// Samples of one window under way.
struct UnderWay {
    recording: Box<dyn Recording>,
    processes: Vec<(String, Sampled)>,
    watched: Watched,
    before: Snapshot,
}

/// Samples of one window, not yet cut to it.
struct Sampling {
    samples: (RawSamples, SamplingReport),
    processes: Vec<(String, Sampled)>,
    scheduler: Option<SchedulerDelta>,
}

/// Everything that is kept between two windows.
struct Session<'a> {
    asking: &'a Asking,
    process: String,
    sampler: Box<dyn Sampler>,
    symbolizer: Symbolizer,
    under_way: Option<UnderWay>,
    sampled: Option<Result<Sampling>>,
}

/// Serves one measurement; `open` is the order. What cannot be opened is refused, and then all is told for the window
/// that it is of.
pub(super) fn serve_also(asking: &Asking, order: AlsoOrder, refused: &impl Fn(&Error) -> Refused) {
    let (mut session, notes) = match Session::open(asking, order) {
        Ok(open) => open,
        Err(error) => return asking.send(&Tell::Refused(refused(&error)), &[]),
    };
    asking.send(&Tell::Also(AlsoTell::Open { notes }), &[]);
    while let Some(ask) = receive(asking) {
        match ask {
            Ask::Also(AlsoAsk::Begin { turn }) => session.tell_lost(turn, |session| session.begin(turn)),
            Ask::Also(AlsoAsk::Stop) => session.stop(),
            Ask::Also(AlsoAsk::Cut { turn, window, ahead, ends }) => {
                session.tell_lost(turn, |session| session.cut(turn, window, ahead, &ends));
            }
            _ => {}
        }
    }
}

/// The processes of a name now: a database may have been started anew since.
fn found(process: &str) -> Result<Vec<(String, Sampled)>> {
    let observe = ObserveRequest { companions: vec![process.into()], ..ObserveRequest::default() };
    let found = companions(&observe, None)?;
    Ok(found.into_iter().map(|(name, pid)| (name, Sampled::family(pid))).collect())
}

impl<'a> Session<'a> {
    fn open(asking: &'a Asking, order: AlsoOrder) -> Result<(Session<'a>, Vec<String>)> {
        let AlsoOrder { process, sampling } = order;
        // A companion's waits are not told of, wherever it is.
        let options = sample::Options { off_cpu: false, cross_checks: false, ..at_the_rate_of_this_host(sampling) };
        let sampled: Vec<Sampled> = found(&process)?.into_iter().map(|(_, sampled)| sampled).collect();
        let first = sampled.first().context("the process has just ended")?.pid;
        let Chosen { mut sampler, notes } = choose(&options, first)?;
        // What fails here fails again, and is told, when the first window begins.
        let _ = sampler.prepare(&sampled, &|_| {});
        let symbolizer = Symbolizer::new(symbol::Options {
            elsewhere: Some(Arc::new(Debuginfod::of_environment())),
            ..symbol::Options::default()
        });
        Ok((Session { asking, process, sampler, symbolizer, under_way: None, sampled: None }, notes))
    }

    fn tell_lost(&mut self, turn: u64, what: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = what(self) {
            self.asking.send(&Tell::Also(AlsoTell::Lost { turn, why: format!("{error:#}") }), &[]);
        }
    }

    fn begin(&mut self, turn: u64) -> Result<()> {
        (self.under_way, self.sampled) = (None, None);
        let processes = found(&self.process)?;
        let watch = |(_, sampled): &(String, Sampled)| WatchedProcess {
            pid: sampled.pid,
            role: Role::Other,
            children: sampled.children,
        };
        let watched = Watched { processes: processes.iter().map(watch).collect(), ..Watched::default() };
        let sampled: Vec<Sampled> = processes.iter().map(|(_, sampled)| *sampled).collect();
        let recording = self.sampler.start(&sampled)?;
        let before = watched.read();
        self.under_way = Some(UnderWay { recording, processes, watched, before });
        self.asking.send(&Tell::Also(AlsoTell::Begun { turn }), &[]);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(UnderWay { recording, processes, watched, before }) = self.under_way.take() else { return };
        let scheduler = difference(&[before, watched.read()]);
        self.sampled = Some(recording.stop().map(|samples| Sampling { samples, processes, scheduler }));
    }

    fn cut(&mut self, turn: u64, window: Span, ahead: i64, ends: &[u64]) -> Result<()> {
        self.stop();
        let Sampling { samples: (raw, report), processes, scheduler } =
            self.sampled.take().context("nothing was sampled in this window")??;
        let samples = (by_clock_ahead(raw, ahead), report);
        let (scheduler, symbolizer) = (scheduler.as_ref(), &mut self.symbolizer);
        for own in companions_alone(samples, &processes, (window, ends), scheduler, symbolizer) {
            let Companion { process, sampling, account, profile, .. } = own;
            let profile = profile.context("a companion has no profile")?;
            let bytes = pprof::encode(&profile, window, sampling.period, &[])?;
            let sampling = Box::new(sampling);
            self.asking.send(&Tell::Also(AlsoTell::Companion { turn, process, sampling, account }), &bytes);
        }
        self.asking.send(&Tell::Also(AlsoTell::Cut { turn }), &[]);
        Ok(())
    }
}

/// Samples by a clock that is so many ns ahead of this one.
fn by_clock_ahead(mut raw: RawSamples, ahead: i64) -> RawSamples {
    let moved = |at: Nanos| at.wrapping_add_signed(ahead);
    raw.span = raw.span.map(|span| Span::new(moved(span.start), moved(span.end)));
    raw.samples.iter_mut().for_each(|sample| sample.at = moved(sample.at));
    raw.on_cpu.iter_mut().flatten().for_each(|note| note.at = moved(note.at));
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{OnCpu, RawSample};

    #[test]
    fn every_instant_of_a_recording_is_by_the_other_clock() {
        let sample = RawSample { at: 1_000, thread: 0, stack: 0, weight: 1, late: false };
        let raw = RawSamples {
            span: Some(Span::new(900, 2_000)),
            samples: vec![sample],
            on_cpu: Some(vec![OnCpu { at: 950, ..OnCpu::default() }]),
            ..RawSamples::default()
        };
        let moved = by_clock_ahead(raw, -800);
        let at = (moved.samples[0].at, moved.on_cpu.unwrap()[0].at, moved.span.unwrap());
        assert_eq!(at, (200, 150, Span::new(100, 1_200)));
    }
}
