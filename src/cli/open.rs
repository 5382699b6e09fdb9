//! `wireprof open`: a stored run in a viewer in the browser.

use super::serve::{Served, serve};
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::cost::carrier_names::Naming;
use crate::export::{StackFormat, What, export_stacks, firefox};
use crate::render::envelope;
use crate::run::{Parts, Run};
use anyhow::Result;
use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Serve a stored run to a viewer in the browser of this machine, until Ctrl-C; the URL to open is printed
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
The viewer is a page of its maker's: the browser loads it from there, and it reads the profile from this machine \
alone, by a path that nobody can guess. wireprof sends nothing anywhere, and opens no browser. Where the browser is \
on another machine, `wireprof export` writes the same file.

Examples:
  wireprof open
  wireprof open RUN --level 64 --viewer speedscope"
)]
pub struct Open {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Page that shows it
    #[arg(long, value_enum, default_value = "firefox")]
    viewer: Viewer,
    /// Port of this machine to serve on [default: any free one]
    #[arg(long, value_name = "P", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Viewer {
    /// CPU samples by thread, traced queries, figures over time
    Firefox,
    /// CPU samples as flamegraphs, also in the order of time
    Speedscope,
}

impl Open {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let parts = Parts { metrics: false, ..Parts::ALL };
        let mut run = input::load(common, &self.run, parts)?.run;
        input::keep_level(&mut run, self.level)?;
        let served = self.viewer.served(&run)?;
        let viewer = self.viewer;
        let ready = |address: &str| {
            let url = viewer.url(address);
            match common.json {
                true => {
                    let mut found = envelope(&common.verb, std::slice::from_ref(&run.manifest.id));
                    found["served"] = serde_json::json!({"url": url, "profile": address});
                    output::json(&found)
                }
                false => output::text(&format!("{url}\n")),
            }?;
            eprintln!("wireprof: serving run {} on this machine until Ctrl-C", run.manifest.id);
            Ok(())
        };
        let stop = async {
            // Without the signal the process ends by it, as programs do.
            let _ = tokio::signal::ctrl_c().await;
        };
        serve(served, self.port, ready, stop)?;
        Ok(Outcome::Done)
    }
}

impl Viewer {
    /// The file that the viewer reads.
    fn served(self, run: &Run) -> Result<Served> {
        match self {
            Viewer::Firefox => Ok(Served {
                name: "profile.json.gz",
                content_type: "application/gzip",
                content: firefox(run).map_err(Usage)?,
                reader: Some("https://profiler.firefox.com"),
            }),
            Viewer::Speedscope => {
                let naming = Naming::of(&input::preset(&run.manifest, None)?, &run.manifest);
                let mut files = export_stacks(run, StackFormat::Speedscope, What::Cpu, &naming).map_err(Usage)?;
                Ok(Served {
                    name: "profile.speedscope.json",
                    content_type: "application/json",
                    content: files.pop().map_or(Vec::new(), |file| file.bytes),
                    reader: Some("https://www.speedscope.app"),
                })
            }
        }
    }

    /// What opens it in the viewer.
    fn url(self, address: &str) -> String {
        let address = utf8_percent_encode(address, NON_ALPHANUMERIC);
        match self {
            Viewer::Firefox => format!("https://profiler.firefox.com/from-url/{address}"),
            Viewer::Speedscope => format!("https://www.speedscope.app/#profileURL={address}"),
        }
    }
}
