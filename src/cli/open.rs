//! `wireprof open`: a stored run in the browser: its report, and its profile in a viewer.

use super::report::page_of;
use super::serve::{Served, serve};
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::cost::carrier_names::Naming;
use crate::export::{StackFormat, What, export_stacks, firefox};
use crate::render::envelope;
use crate::run::{Parts, Run};
use anyhow::Result;
use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::path::Path;

/// Serve a stored run to the browser of this machine, its report and its profile, until Ctrl-C; the URLs are printed
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
The report is a page of wireprof's own, which asks nothing of the network. The viewer of a profile is a page of its \
maker's: the browser loads it from there, and it reads the profile from this machine alone, by a path that nobody can \
guess. wireprof sends nothing anywhere, and opens no browser. Where the browser is on another machine, `wireprof \
report` and `wireprof export` write the same files.

Examples:
  wireprof open
  wireprof open RUN --viewer report
  wireprof open RUN --level 64 --viewer speedscope"
)]
pub struct Open {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Page that shows it [default: report, and firefox where the run has something for it]
    #[arg(long, value_enum)]
    viewer: Option<Viewer>,
    /// Port of this machine to serve on [default: any free one]
    #[arg(long, value_name = "P", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Viewer {
    /// The answer, charts, functions, flamegraphs, the evidence
    Report,
    /// CPU samples by thread, traced queries, figures over time
    Firefox,
    /// CPU samples as flamegraphs, also in the order of time
    Speedscope,
}

impl Open {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let mut loaded = input::load(common, &self.run, Parts::ALL)?;
        input::keep_level(&mut loaded.run, self.level)?;
        let run = &loaded.run;
        let (viewers, served) = self.served(run, &loaded.directory)?;
        let ready = |addresses: &[String]| {
            let urls: Vec<String> =
                viewers.iter().zip(addresses).map(|(viewer, address)| viewer.url(address)).collect();
            match common.json {
                true => {
                    let mut found = envelope(&common.verb, std::slice::from_ref(&run.manifest.id));
                    found["served"] = viewers.iter().zip(&urls).zip(addresses).map(told).collect();
                    output::json(&found)
                }
                false => output::text(&(urls.join("\n") + "\n")),
            }?;
            output::say(format_args!("wireprof: serving run {} on this machine until Ctrl-C", run.manifest.id));
            Ok(())
        };
        let stop = async {
            // Without the signal the process ends by it, as programs do.
            let _ = tokio::signal::ctrl_c().await;
        };
        serve(served, self.port, ready, stop)?;
        Ok(Outcome::Done)
    }

    /// What is asked for; without a wish the report, and the profile where there is one.
    fn served(&self, run: &Run, directory: &Path) -> Result<(Vec<Viewer>, Vec<Served>)> {
        let Some(viewer) = self.viewer else {
            let report = Viewer::Report.served(run, directory)?;
            return Ok(match Viewer::Firefox.served(run, directory) {
                Ok(profile) => (vec![Viewer::Report, Viewer::Firefox], vec![report, profile]),
                Err(why) => {
                    output::say(format_args!("wireprof: the report alone, for {why:#}"));
                    (vec![Viewer::Report], vec![report])
                }
            });
        };
        Ok((vec![viewer], vec![viewer.served(run, directory)?]))
    }
}

/// What programs are told of one file.
fn told(((viewer, url), address): ((&Viewer, &String), &String)) -> Value {
    json!({"viewer": viewer.name(), "url": url, "file": address})
}

impl Viewer {
    /// As it is chosen.
    fn name(self) -> &'static str {
        match self {
            Viewer::Report => "report",
            Viewer::Firefox => "firefox",
            Viewer::Speedscope => "speedscope",
        }
    }

    /// The file that is read.
    fn served(self, run: &Run, directory: &Path) -> Result<Served> {
        match self {
            Viewer::Report => Ok(Served {
                name: "report.html",
                content_type: "text/html; charset=utf-8",
                content: page_of(run, directory)?.into(),
                reader: None,
            }),
            Viewer::Firefox => Ok(Served {
                name: "profile.json.gz",
                content_type: "application/gzip",
                content: firefox(run).map_err(Usage)?.into(),
                reader: Some("https://profiler.firefox.com"),
            }),
            Viewer::Speedscope => {
                let naming = Naming::of(&input::preset(&run.manifest, None)?, &run.manifest);
                let mut files = export_stacks(run, StackFormat::Speedscope, What::Cpu, &naming).map_err(Usage)?;
                Ok(Served {
                    name: "profile.speedscope.json",
                    content_type: "application/json",
                    content: files.pop().map_or(Vec::new(), |file| file.bytes).into(),
                    reader: Some("https://www.speedscope.app"),
                })
            }
        }
    }

    /// What opens it.
    fn url(self, address: &str) -> String {
        let packed = utf8_percent_encode(address, NON_ALPHANUMERIC);
        match self {
            Viewer::Report => address.into(),
            Viewer::Firefox => format!("https://profiler.firefox.com/from-url/{packed}"),
            Viewer::Speedscope => format!("https://www.speedscope.app/#profileURL={packed}"),
        }
    }
}
