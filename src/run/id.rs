//! Ids of runs and the directories they stand for. Invariant: two runs never share a directory: it is created by the
//! one that it belongs to, and by nobody else.

use super::store::RunWriter;
use super::{Manifest, Store};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Runs of one second and name that are told apart by number; nobody begins more.
const OF_ONE_SECOND: usize = 1_000;

/// `20261122-101530-testbed`, with the preset's name as far as it suits a directory.
pub fn run_id(created: std::time::SystemTime, preset: &str) -> String {
    let digits: String =
        humantime::format_rfc3339_seconds(created).to_string().chars().filter(char::is_ascii_digit).collect();
    let name: String = preset.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("{}-{}-{name}", &digits[..8], &digits[8..14])
}

/// A run's own directory, empty so far; it goes away again where no run is begun in it.
#[derive(Debug)]
pub struct Reserved {
    id: String,
    directory: PathBuf,
}

impl Store {
    /// An id for a new run: the one given, or the first of `ID-2`, `ID-3` and so on that no run has.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn reserve(&self, id: &str) -> Result<Reserved> {
        for number in 1..=OF_ONE_SECOND {
            let id = if number == 1 { id.to_string() } else { format!("{id}-{number}") };
            if let Some(reserved) = self.claim(&id)? {
                return Ok(reserved);
            }
        }
        bail!("there are {OF_ONE_SECOND} runs of the id {id} already: choose another place with --runs")
    }

    /// The directory of exactly this id; `None` where there is one already.
    pub(super) fn claim(&self, id: &str) -> Result<Option<Reserved>> {
        let directory = self.place(id);
        let refused =
            || format!("cannot create {}: choose another place with --runs, or make it writable", directory.display());
        let parent = directory.parent().unwrap_or(&directory);
        fs::create_dir_all(parent).with_context(refused)?;
        match fs::create_dir(&directory) {
            Ok(()) => Ok(Some(Reserved { id: id.into(), directory })),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error).with_context(refused),
        }
    }
}

impl Reserved {
    /// The id that was reserved; the directory has it as its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Begins the run; its manifest gets the reserved id.
    ///
    /// # Errors
    /// A manifest that cannot be written.
    pub fn begin(self, mut manifest: Manifest) -> Result<RunWriter> {
        manifest.id.clone_from(&self.id);
        RunWriter::begin(self.directory.clone(), manifest)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // Only an empty directory can be removed, so a run that was begun stays.
        let _ = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_runs_id_is_its_time_and_preset_and_fits_a_directory() {
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_795_342_530);
        assert_eq!(run_id(at, "my/preset x"), "20261122-101530-my_preset_x");
    }

    #[test]
    fn runs_of_one_second_get_directories_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let runs = place.path().join("runs");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let reserve = || Store::new(&runs).reserve("a").unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(reserve)).collect();
            let reserved: Vec<Reserved> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            reserved.iter().for_each(|one| fs::write(one.directory.join("x"), one.id()).unwrap());
            reserved.iter().map(|one| one.id().to_string()).collect()
        });
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 8, "{ids:?}");
        assert!(ids.iter().all(|id| fs::read_to_string(runs.join(id).join("x")).unwrap() == *id));
        assert!(Store::new(&runs).claim("a").unwrap().is_none());
    }

    #[test]
    fn an_id_that_was_not_used_is_free_again() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path());
        drop(store.reserve("a").unwrap());
        assert_eq!(store.reserve("a").unwrap().id(), "a");
    }
}
