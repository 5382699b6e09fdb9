//! The pictures of a run as files: one per level for everything and for each focus. Invariant: a file's name has run,
//! level and focus in it, and a file is written whole or not at all.

use super::{Caption, Code, Direction, draw, draw_difference};
use crate::analyze::compare::difference::TreeDifference;
use crate::analyze::cost::carrier_names::Naming;
use crate::analyze::cost::view::{LevelView, Per, Source, ViewOptions, level_view};
use crate::profile::{Focus, Folding};
use crate::run::{Run, Window};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Which pictures.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only this level.
    pub level: Option<usize>,
    /// The picture of all that was sampled.
    pub everything: bool,
    /// A picture for each of these.
    pub foci: Vec<Focus>,
    /// Frames to fold into their callers; of the time in hand the runtime's as [`Wanted::naming`] has them.
    pub folding: Folding,
    /// Nothing is to be folded, not even in the time in hand.
    pub unfolded: bool,
    /// The kernel's frames as one, by what the kernel was entered for.
    pub kernel_grouped: bool,
    /// Functions by their full names.
    pub full_names: bool,
    /// The process that the run is seen from; `None`: the target.
    pub process: Option<String>,
    /// What names the carriers of queries; `None`: no pictures of what carried them.
    pub naming: Option<Naming>,
    /// By which times; `None`: by all that there are.
    pub sources: Option<Vec<Source>>,
    /// Frames of a picture at most; `None`: as many as keep it under 3 MB.
    pub most_frames: Option<usize>,
}

/// A picture's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureFile {
    /// Number of clients that it shows.
    pub level: usize,
    /// `all`, or the focus's name; after a process's name where it is not the target; with `blocked` or `runnable`
    /// where it is of waits, with `in hand` where it is of the time in the server's hands.
    pub what: String,
    /// The file that was written.
    pub path: PathBuf,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    /// In the order in which they were written.
    pub pictures: Vec<PictureFile>,
    /// Pictures that there is nothing to draw in, and why.
    pub left_out: Vec<String>,
}

/// Draws into `directory`, which is made if it is not there.
///
/// # Errors
/// A file or directory that cannot be written, by name.
pub fn write_pictures(run: &Run, wanted: &Wanted, directory: &Path) -> Result<Pictures> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let mut written = Pictures::default();
    for job in jobs(run, wanted) {
        let view = match view_of(run, wanted, &job) {
            Ok(view) => view,
            Err(why) => {
                written.left_out.push(why);
                continue;
            }
        };
        let path = directory.join(file_name(&run.manifest.id, job.level, &job.what, wanted.unfolded));
        write_picture(&path, &draw(&view, &job.caption(run, wanted))?.svg)?;
        written.pictures.push(PictureFile { level: job.level, what: job.what, path });
    }
    Ok(written)
}

/// A picture to draw.
pub(in crate::render) struct Job<'w> {
    /// Number of clients.
    pub level: usize,
    /// As in [`PictureFile::what`].
    pub what: String,
    /// Which of the windows' profiles.
    pub source: Source,
    /// `None`: everything.
    pub focus: Option<&'w Focus>,
}

impl Job<'_> {
    pub fn caption(&self, run: &Run, wanted: &Wanted) -> Caption {
        Caption {
            run: match &wanted.process {
                Some(process) => format!("{process}, {}", run.manifest.id),
                None => run.manifest.id.clone(),
            },
            focus: self.focus.map(|focus| focus.name.clone()),
            full_names: wanted.full_names,
            folded: !wanted.unfolded,
            code: Code { program: program(run, wanted), runtime: wanted.folding.clone() },
            most_frames: wanted.most_frames,
        }
    }
}

/// Base name of the file that is the program: the target's executable, or what the companion is called by.
fn program(run: &Run, wanted: &Wanted) -> Option<String> {
    let executable = || run.manifest.target.executable.as_deref()?.trim_end_matches(" (deleted)").rsplit('/').next();
    wanted.process.clone().or_else(|| executable().map(String::from))
}

/// The pictures that are wanted of a run, view by view.
pub(in crate::render) fn jobs<'w>(run: &Run, wanted: &'w Wanted) -> Vec<Job<'w>> {
    let levels: Vec<usize> =
        run.levels().into_keys().filter(|level| wanted.level.is_none_or(|wanted| wanted == *level)).collect();
    let of_view = |(focus, source): (Option<&'w Focus>, Source)| {
        let what = what(wanted.process.as_deref(), focus, source);
        levels.iter().map(move |level| Job { level: *level, what: what.clone(), source, focus }).collect::<Vec<_>>()
    };
    views(run, wanted).into_iter().flat_map(of_view).collect()
}

/// What a picture is drawn from, or why there is nothing to draw.
pub(in crate::render) fn view_of(run: &Run, wanted: &Wanted, job: &Job) -> Result<LevelView, String> {
    let Job { level, what, source, focus } = job;
    let options = ViewOptions {
        source: *source,
        per: if source.is_of_hands() { Per::Query } else { Per::of(run) },
        naming: wanted.naming.clone(),
        focus: focus.cloned(),
        folding: folding(wanted, *source).but(focus.iter().flat_map(|focus| focus.patterns.iter().cloned())),
        kernel_grouped: wanted.kernel_grouped,
        ..ViewOptions::default()
    };
    let windows = run.levels().remove(level).unwrap_or_default();
    let view = level_view(*level, &windows, &options)
        .ok_or_else(|| format!("level {level}, {what}: no profile, nothing was drawn"))?;
    let total = view.profile.total(view.column);
    if total == 0 || view.outside == Some(total) {
        return Err(format!("level {level}, {what}: no sample in it, nothing was drawn"));
    }
    Ok(view)
}

/// Draws each level's stacks before and after, coloured by their difference, into `directory`, which is made if it is
/// not there.
///
/// # Errors
/// A file or directory that cannot be written, by name.
pub fn write_differences(
    levels: &[TreeDifference],
    caption: &Caption,
    margin: f64,
    directory: &Path,
) -> Result<Pictures> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let mut written = Pictures::default();
    let of = caption.focus.as_deref().unwrap_or("all");
    for trees in levels {
        for direction in [Direction::Before, Direction::After] {
            let what = format!("{of} {}", direction.word());
            let runs = format!("{}-to-{}", trees.runs[0], trees.runs[1]);
            let path = directory.join(file_name(&runs, trees.level, &what, !caption.folded));
            write_picture(&path, &draw_difference(trees, direction, caption, margin)?.svg)?;
            written.pictures.push(PictureFile { level: trees.level, what, path });
        }
    }
    Ok(written)
}

/// What is drawn of each level, and by which time. Waits and the time in hand, where the run has any: of everything; of
/// a focus only where not everything is asked for.
fn views<'w>(run: &Run, wanted: &'w Wanted) -> Vec<(Option<&'w Focus>, Source)> {
    let everything = wanted.everything.then_some(None);
    let mut views: Vec<_> = everything.into_iter().chain(wanted.foci.iter().map(Some)).collect();
    let mut drawn = views.iter().map(|focus| (*focus, Source::OnCpu)).collect::<Vec<_>>();
    views.retain(|focus| focus.is_none() || !wanted.everything);
    let any = |has: &dyn Fn(&Window) -> bool| run.windows.iter().any(has);
    let (off_cpu, hands) = (any(&|window| window.off_cpu.is_some()), any(&|window| window.hands.is_some()));
    let sources =
        [(Source::Blocked, off_cpu), (Source::Runnable, off_cpu), (Source::InHand, hands && wanted.naming.is_some())];
    for (source, _) in sources.into_iter().filter(|(_, there)| *there) {
        drawn.extend(views.iter().map(|focus| (*focus, source)));
    }
    drawn.retain(|(_, source)| wanted.sources.as_ref().is_none_or(|sources| sources.contains(source)));
    drawn
}

/// What is folded. Of the time in hand all of the runtime: a task's stack is one of the runtime's, with what the task
/// waits for at its end.
fn folding(wanted: &Wanted, source: Source) -> Folding {
    let naming = wanted.naming.as_ref().filter(|_| source == Source::InHand);
    match naming {
        _ if wanted.unfolded => Folding::default(),
        Some(naming) => naming.runtime.clone(),
        None => wanted.folding.clone(),
    }
}

/// `all`, `peek`, `all blocked`, `postgres all`
fn what(process: Option<&str>, focus: Option<&Focus>, source: Source) -> String {
    let of = focus.map_or("all", |focus| focus.name.as_str());
    let of = process.map_or_else(|| of.to_string(), |process| format!("{process} {of}"));
    match source {
        Source::OnCpu => of,
        Source::Blocked => format!("{of} blocked"),
        Source::Runnable => format!("{of} runnable"),
        Source::Waits => format!("{of} waits"),
        Source::InHand => format!("{of} in hand"),
    }
}

/// `RUN-L0064-peek.svg`, or `RUN-L0064-peek-unfolded.svg`
fn file_name(run: &str, level: usize, what: &str, unfolded: bool) -> String {
    let safe: String = what.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(60).collect();
    format!("{run}-L{level:04}-{}{}.svg", safe.trim_matches('-'), if unfolded { "-unfolded" } else { "" })
}

/// Writes a picture, or a page of them, whole or not at all.
///
/// # Errors
/// A file that cannot be written, by name.
pub fn write_picture(path: &Path, text: &str) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let written = || -> std::io::Result<()> {
        std::fs::File::create(temporary)?.write_all(text.as_bytes())?;
        std::fs::rename(temporary, path)
    };
    written().map_err(|error| {
        // Nothing half written stays; the error that matters is the first one.
        let _ = std::fs::remove_file(temporary);
        anyhow::Error::from(error).context(format!("cannot write {}", path.display()))
    })
}
