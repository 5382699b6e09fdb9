//! The side of the target: opens the instruments, takes the windows that it is asked for, and puts back what it set.
//! Invariant: it keeps nothing on disk, and where the asking side is gone it puts everything back and ends.

use super::also::AlsoAsk;
use super::also_serve::serve_also;
use super::elsewhere::ElsewhereDriver;
use super::{Ask, Found, Tell};
use crate::debuginfod::Debuginfod;
use crate::remote::{Refused, Served};
use crate::run::{Manifest, WindowId, window_files};
use crate::sweep::assemble::{Kept, assemble};
use crate::sweep::load_threads::ThreadBook;
use crate::sweep::sampling_rate::RateBook;
use crate::sweep::window::{self, Asked};
use crate::sweep::{DriverChoice, Event, Prepared, Request, ServerState, Sources, Stop, note, prepare, statements};
use crate::symbol::{self, Symbolizer};
use anyhow::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What putting everything back may take, once the asking side is gone.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The asking side.
pub(super) type Asking = Arc<Served<Ask, Tell>>;

/// Serves one measurement over standard input and output. `code`: the exit code that belongs to an error.
///
/// # Errors
/// Standard output is closed already. Everything else is told to the asking side.
pub async fn serve(code: fn(&Error) -> u8) -> Result<()> {
    let stop = Stop::default();
    let gone = stop.clone();
    let asking: Asking = Arc::new(Served::open(END_LIMIT, move || gone.request())?);
    let refused = |error: &Error| Refused { message: format!("{error:#}"), code: code(error) };
    let order = match receive(&asking) {
        Some(Ask::Prepare(order)) => order,
        Some(Ask::Also(AlsoAsk::Open(order))) => {
            tokio::task::block_in_place(|| serve_also(&asking, *order, &refused));
            return Ok(());
        }
        _ => return Ok(()),
    };
    let prepared = match order.request() {
        Ok(request) => prepare(request.clone(), &stop).await.map(|prepared| (request, prepared)),
        Err(error) => Err(error),
    };
    let (request, Prepared { sources, manifest, state }) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            asking.send(&Tell::Refused(refused(&error)), &[]);
            return Ok(());
        }
    };
    let mut session = Session::new(&asking, request, sources, manifest, &stop);
    let restore = session.windows(&refused).await;
    drop(session);
    match put_back(state, restore, &asking).await {
        Ok(()) => asking.send(&Tell::Ended, &[]),
        Err(error) => asking.send(&Tell::Refused(refused(&error)), &[]),
    }
    Ok(())
}

/// The next message; `None`: the asking side is gone.
pub(super) fn receive(asking: &Asking) -> Option<Ask> {
    tokio::task::block_in_place(|| asking.receive())
}

/// Puts back what was set; what the preset set only where that is wanted.
async fn put_back(state: ServerState, restore: bool, asking: &Asking) -> Result<()> {
    let (preset, ended) = state.end().await;
    if let Some(preset) = preset.filter(|_| restore) {
        for statement in preset.put_back().await? {
            asking.send(&Tell::Noted(format!("put back: {statement}")), &[]);
        }
    }
    ended
}

/// The windows under way.
struct Session<'a> {
    asking: &'a Asking,
    request: Request,
    sources: Sources,
    manifest: Manifest,
    stop: &'a Stop,
    threads: ThreadBook,
    rate: RateBook,
    symbolizer: Symbolizer,
}

impl<'a> Session<'a> {
    fn new(asking: &'a Asking, request: Request, sources: Sources, manifest: Manifest, stop: &'a Stop) -> Self {
        let symbolizer = Symbolizer::new(symbol::Options {
            elsewhere: Some(Arc::new(Debuginfod::of_environment())),
            ..symbol::Options::default()
        });
        let (threads, rate) = (ThreadBook::default(), RateBook::default());
        Session { asking, request, sources, manifest, stop, threads, rate, symbolizer }
    }

    /// Takes windows until it is asked for none; whether what the preset set is to be put back.
    async fn windows(&mut self, refused: &impl Fn(&Error) -> Refused) -> bool {
        let asking = self.asking;
        self.sources.warm(&mut |event| tell(asking, &event));
        let Manifest { target, host, changes, notes, .. } = self.manifest.clone();
        let clients = self.sources.driver.level();
        asking.send(&Tell::Prepared(Box::new(Found { target, host, changes, notes, clients })), &[]);
        loop {
            match receive(asking) {
                Some(Ask::Window { id, ends }) => {
                    if let Err(error) = self.window(id, ends).await {
                        asking.send(&Tell::GivenUp(refused(&error)), &[]);
                    }
                }
                Some(Ask::Clients) => asking.send(&Tell::Clients(self.sources.driver.level()), &[]),
                Some(Ask::End { restore }) => return restore,
                Some(Ask::Prepare(_) | Ask::Also(_) | Ask::Abandon) => {}
                None => return true,
            }
        }
    }

    async fn window(&mut self, id: WindowId, ends: Option<BTreeSet<u32>>) -> Result<()> {
        let asking = self.asking;
        if self.request.load.driver == DriverChoice::Elsewhere {
            self.sources.driver = Box::new(ElsewhereDriver { asking: asking.clone(), ends });
        }
        statements::reset_before_window(&mut self.sources, &mut self.manifest.notes).await;
        let timing = &self.request.plan.timing;
        let chosen = self.request.observe.sampling.as_ref().and_then(|options| options.chosen.as_ref());
        let mut tell = |event: Event| tell(asking, &event);
        // What a plan has in all is known beside the load alone.
        let windows = 1;
        let asked = Asked { timing, id, windows, stop: self.stop, chosen, rate: &mut self.rate, tell: &mut tell };
        let mut captured = window::capture(&mut self.sources, &mut self.threads, asked).await?;
        if let Some(cut) = captured.cut.take() {
            return Err(cut);
        }
        tokio::task::block_in_place(|| {
            let (window, kept) =
                assemble(captured, &self.request.preset, &self.manifest, &self.sources, &mut self.symbolizer)?;
            for file in window_files(&window, kept.as_ref().map(Kept::borrow))? {
                asking.send(&Tell::File(file.name), &file.bytes);
            }
            self.symbolizer.notes().into_iter().for_each(|text| note(&mut self.manifest.notes, text));
            asking.send(&Tell::Window { notes: self.manifest.notes.clone() }, &[]);
            Ok(())
        })
    }
}

/// What the conductor here tells, for whoever looks on there.
fn tell(asking: &Asking, event: &Event) {
    match event {
        Event::Preparing(text) => asking.send(&Tell::Preparing((*text).into()), &[]),
        Event::Noted(text) => asking.send(&Tell::Noted((*text).into()), &[]),
        Event::Following(_) => asking.send(&Tell::Following, &[]),
        _ => {}
    }
}
