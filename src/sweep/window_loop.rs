//! The one loop over windows, for every verb that measures. Invariant: a window that is finished is on disk before the
//! next one starts, and whatever ends the loop, what was noted of its windows is in the manifest.

use super::assemble::{Kept, assemble};
use super::load_threads::ThreadBook;
use super::observer::{ObserverSpec, observer_windows};
use super::plan::number_window;
use super::window::Asked;
use super::{Event, Request, Sources, Stop, Turn, note, statements, window};
use crate::debuginfod::Debuginfod;
use crate::run::{RunWriter, Store, Window, WindowId};
use crate::symbol::{self, Symbolizer};
use anyhow::Result;
use std::sync::Arc;

/// The windows of one turn under way.
pub struct WindowLoop<'a> {
    pub writer: &'a mut RunWriter,
    pub request: &'a Request,
    pub sources: &'a mut Sources,
    /// The numbers of load threads that were found, of all arms.
    pub threads: &'a mut ThreadBook,
    pub stop: &'a Stop,
    pub tell: &'a mut (dyn FnMut(Event) + Send),
    /// Windows of the run on disk.
    pub finished: &'a mut usize,
}

impl WindowLoop<'_> {
    /// Takes the windows of a turn, then what was asked of the instruments themselves.
    ///
    /// # Errors
    /// What ended it before all were taken; those before it are on disk.
    pub async fn take(mut self, turn: Turn, store: &Store) -> Result<()> {
        self.stop.check()?;
        self.sources.warm(self.tell);
        let mut symbolizer = Symbolizer::new(symbol::Options {
            elsewhere: Some(Arc::new(Debuginfod::of_environment())),
            ..symbol::Options::default()
        });
        let taken = self.windows(turn, &mut symbolizer).await;
        for text in symbolizer.notes() {
            note(&mut self.writer.manifest.notes, text);
        }
        taken?;
        match &self.request.observe.observer {
            Some(asked) => self.observe(asked, store).await,
            None => Ok(()),
        }
    }

    async fn windows(&mut self, turn: Turn, symbolizer: &mut Symbolizer) -> Result<()> {
        let timing = self.request.plan.timing;
        let seconds = (timing.warmup + timing.window).as_secs_f64();
        let of = self.writer.manifest.order.len();
        for index in 0..of {
            let planned = self.writer.manifest.order[index];
            if !turn.has(planned) {
                continue;
            }
            let clients = self.sources.driver.level();
            let id = clients.map_or(planned, |seen| number_window(&mut self.writer.manifest, index, seen));
            (self.tell)(Event::Started { run: &self.writer.manifest, id, index, of, seconds });
            statements::reset_before_window(self.sources, &mut self.writer.manifest.notes).await;
            let (window, cut) = self.measure_window(id, symbolizer).await?;
            *self.finished += 1;
            (self.tell)(Event::Finished { run: &self.writer.manifest, window: &window, index, of });
            cut.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Measures one window and stores it; with what ends the run after it.
    async fn measure_window(
        &mut self,
        id: WindowId,
        symbolizer: &mut Symbolizer,
    ) -> Result<(Window, Option<anyhow::Error>)> {
        let asked = Asked { timing: &self.request.plan.timing, id, stop: self.stop, tell: &mut *self.tell };
        let mut captured = window::capture(self.sources, self.threads, asked).await?;
        let cut = captured.cut.take();
        (self.tell)(Event::Processing(id));
        tokio::task::block_in_place(|| {
            let (preset, manifest) = (&self.request.preset, &self.writer.manifest);
            let (window, expositions) = assemble(captured, preset, manifest, self.sources, symbolizer)?;
            self.writer.write_window(&window, expositions.as_ref().map(Kept::borrow))?;
            Ok((window, cut))
        })
    }

    /// Measures what observing costs, and stores it with the run; what ended it early is the error.
    async fn observe(&mut self, asked: &ObserverSpec, store: &Store) -> Result<()> {
        let (windows, ended) = observer_windows(asked, self.sources, self.threads, self.stop, self.tell).await?;
        store.write_observer(&self.writer.manifest, &windows)?;
        ended.map_or(Ok(()), Err)
    }
}
