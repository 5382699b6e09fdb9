//! The one loop over windows, for every verb that measures. Invariant: a window that is finished is on disk before the
//! next one starts, and whatever ends the loop, what was noted of its windows is in the manifest.

use super::assemble::{Kept, assemble};
use super::load_threads::ThreadBook;
use super::observer::{ObserverSpec, observer_windows};
use super::plan::number_window;
use super::precision::PrecisionBook;
use super::sampling_rate::RateBook;
use super::window::Asked;
use super::{Event, Request, Sources, Stop, Turn, across, note, statements, window};
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
    /// The rate of samples that was settled, of all arms.
    pub rate: &'a mut RateBook,
    /// How precisely the levels are known.
    pub precision: &'a mut PrecisionBook,
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
        self.rate.begin(self.sources);
        let mut symbolizer = Symbolizer::new(symbol::Options {
            elsewhere: Some(Arc::new(Debuginfod::of_environment())),
            ..symbol::Options::default()
        });
        let taken = self.all_windows(turn, &mut symbolizer).await;
        for text in symbolizer.notes() {
            note(&mut self.writer.manifest.notes, text);
        }
        taken?;
        match &self.request.observe.observer {
            Some(asked) => self.observe(asked, store).await,
            None => Ok(()),
        }
    }

    /// The turn's windows as planned, then those that the precision that was asked for takes; where each replicate is a
    /// turn, these are turns too.
    async fn all_windows(&mut self, turn: Turn, symbolizer: &mut Symbolizer) -> Result<()> {
        self.windows(0, turn, symbolizer).await?;
        while turn.replicate.is_none()
            && let Some(further) = self.precision.further(&self.writer.manifest)
        {
            let planned = self.writer.manifest.order.len();
            self.writer.plan_further(&further.windows)?;
            further.tell(self.tell);
            self.windows(planned, turn, symbolizer).await?;
        }
        Ok(())
    }

    /// The turn's windows from a position of the run's order on.
    async fn windows(&mut self, from: usize, turn: Turn, symbolizer: &mut Symbolizer) -> Result<()> {
        let timing = self.request.plan.timing;
        let seconds = (timing.warmup + timing.window).as_secs_f64();
        let of = self.writer.manifest.order.len();
        for index in from..of {
            let planned = self.writer.manifest.order[index];
            if !turn.has(planned) {
                continue;
            }
            let clients = self.clients()?;
            let id = clients.map_or(planned, |seen| number_window(&mut self.writer.manifest, index, seen));
            (self.tell)(Event::Started { run: &self.writer.manifest, id, index, of, seconds });
            statements::reset_before_window(self.sources, &mut self.writer.manifest.notes).await;
            let (window, cut) = self.measure_window(id, symbolizer).await?;
            *self.finished += 1;
            self.precision.add(&self.request.preset, &self.writer.manifest, &window);
            (self.tell)(Event::Finished { run: &self.writer.manifest, window: &window, index, of });
            cut.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Clients of the next window where they are not ours to plan.
    fn clients(&self) -> Result<Option<usize>> {
        match &self.sources.there {
            Some(there) if self.request.load.driver.is_foreign() => tokio::task::block_in_place(|| there.clients()),
            _ => Ok(self.sources.driver.level()),
        }
    }

    /// Measures one window and stores it; with what ends the run after it.
    async fn measure_window(
        &mut self,
        id: WindowId,
        symbolizer: &mut Symbolizer,
    ) -> Result<(Window, Option<anyhow::Error>)> {
        if self.sources.there.is_some() {
            return self.measure_across(id).await;
        }
        let (timing, rate) = (&self.request.plan.timing, &mut *self.rate);
        let chosen = self.request.observe.sampling.as_ref().and_then(|options| options.chosen.as_ref());
        let windows = self.writer.manifest.order.len();
        let asked = Asked { timing, id, windows, stop: self.stop, chosen, rate, tell: &mut *self.tell };
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

    /// As [`WindowLoop::measure_window`], of a target on another host.
    async fn measure_across(&mut self, id: WindowId) -> Result<(Window, Option<anyhow::Error>)> {
        let (timing, rate) = (&self.request.plan.timing, &mut *self.rate);
        let windows = self.writer.manifest.order.len();
        let asked = Asked { timing, id, windows, stop: self.stop, chosen: None, rate, tell: &mut *self.tell };
        let into = (&*self.writer, &self.request.preset);
        let (window, files, notes) = match self.request.load.driver.is_foreign() {
            true => across::record(self.sources, asked, into)?,
            false => across::capture(self.sources, self.threads, asked, into).await?,
        };
        tokio::task::block_in_place(|| self.writer.write_window_of(id, &files))?;
        notes.into_iter().for_each(|text| note(&mut self.writer.manifest.notes, text));
        Ok((window, None))
    }

    /// Measures what observing costs, and stores it with the run; what ended it early is the error.
    async fn observe(&mut self, asked: &ObserverSpec, store: &Store) -> Result<()> {
        let mut asked = asked.clone();
        if let (Some(options), Some(settled)) = (&mut asked.sampling, self.rate.settled()) {
            options.set_rate(settled.clone());
        }
        let (windows, ended) = observer_windows(&asked, self.sources, self.threads, self.stop, self.tell).await?;
        store.write_observer(&self.writer.manifest, &windows)?;
        ended.map_or(Ok(()), Err)
    }
}
