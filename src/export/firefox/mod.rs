//! A run in the processed format of the Firefox Profiler (<https://profiler.firefox.com>), gzipped. Invariant: each
//! stored sample of the windows is one sample of its thread at its own time, and each traced query is one marker.
//!
//! A window is a group of processes: the target and its companions with their threads, and the load with the traced
//! queries of each hop and the figures over time.

mod counters;
mod queries;
mod threads;

use super::axis::{Axis, title};
use super::series::{Series, series};
use crate::run::{Run, Window};
use anyhow::{Context, Result, bail};
use counters::samples;
use flate2::Compression;
use flate2::write::GzEncoder;
use fxprof_processed_profile::{ProcessHandle, Profile, ReferenceTimestamp, SamplingInterval, Timestamp};
use queries::Queries;
use std::time::{Duration, SystemTime};
use threads::Categories;

/// All windows of the run on one time axis.
///
/// # Errors
/// Samples without times, as imported profiles may have them.
pub fn firefox(run: &Run) -> Result<Vec<u8>> {
    let axis = Axis::of(run);
    let wall = axis.wall(run).and_then(|wall| humantime::parse_rfc3339(wall).ok()).unwrap_or(SystemTime::UNIX_EPOCH);
    let period = run.windows.iter().find_map(|window| window.sampling.as_ref()?.period);
    let interval = SamplingInterval::from(Duration::from_nanos(period.unwrap_or(1_000_000)));
    let name = format!("wireprof run {}", run.manifest.id);
    let mut profile = Profile::new(&name, ReferenceTimestamp::from(wall), interval);
    profile.set_os_name(&format!("Linux {}", run.manifest.host.kernel));
    // Frames have names, not addresses: there is nothing to look up.
    profile.set_symbolicated(true);
    let mut out = Out { categories: Categories::of(&mut profile), queries: Queries::default(), profile, axis };
    for window in &run.windows {
        out.window(window, &title(run, window))?;
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut packed, &out.profile).context("the profile cannot be written as JSON")?;
    Ok(packed.finish()?)
}

/// The file as far as it is made.
struct Out {
    profile: Profile,
    axis: Axis,
    categories: Categories,
    queries: Queries,
}

impl Out {
    fn window(&mut self, window: &Window, title: &str) -> Result<()> {
        self.load(window, title);
        let own = window.profile.iter();
        for samples in own.chain(window.companions.iter().filter_map(|companion| companion.profile.as_ref())) {
            if samples.samples.iter().any(|sample| sample.at.is_none()) {
                bail!(
                    "the samples of {title} have no times, and the Firefox Profiler shows times: export them as \
                     folded, pprof or speedscope"
                );
            }
            self.threads(samples, window.profile_span(), title);
        }
        Ok(())
    }

    /// The load: its traced queries as markers, its figures as counters.
    fn load(&mut self, window: &Window, title: &str) {
        let span = window.facts.span;
        let (start, end) = (self.at(span.start), self.at(span.end));
        let load = self.profile.add_process(&format!("{title}: load"), 0, start);
        self.profile.set_process_end_time(load, end);
        for hop in window.wire.iter().flat_map(|wire| &wire.hops) {
            let of_load = window.wire.as_ref().is_some_and(|wire| wire.is_load(&hop.hop.name));
            if let Some(sample) = &hop.sample {
                self.traced(sample, of_load, load, start);
            }
        }
        for series in series(window) {
            self.counter(&series, load);
        }
    }

    fn counter(&mut self, series: &Series, load: ProcessHandle) {
        let counter = self.profile.add_counter(load, &series.name, "wireprof", "by slices of 50 ms");
        for (at, figure) in samples(&series.points) {
            let at = self.at(at);
            self.profile.add_counter_sample(counter, at, figure, 0);
        }
    }

    /// An instant of the run's clock.
    fn at(&self, nanos: u64) -> Timestamp {
        Timestamp::from_nanos_since_reference(self.axis.after_origin(nanos))
    }
}
