//! A pager for text that is longer than the terminal, as git has it. Invariant: whatever becomes of the pager, the text
//! is shown once, and quitting the pager is no error.

use super::{output, screen};
use std::io::{ErrorKind, Write};
use std::process::{Child, Command, ExitStatus, Stdio};

/// What less is told where the user tells it nothing: end where all fits, show colours, leave the text on the screen.
const LESS: &str = "FRX";

/// Shows the text in the user's pager; `false`: it is for the caller to print.
pub fn shown(text: &str) -> bool {
    let Some((_, lines)) = screen::size().filter(|_| screen::settings().pager) else { return false };
    if text.lines().count() < lines {
        return false;
    }
    let Some(command) = command(|name| std::env::var(name).ok()) else { return false };
    match through(&command, text) {
        Ok(status) if !matches!(status.code(), Some(126 | 127)) => true,
        Ok(_) => told(&command, "it cannot be run"),
        Err(error) => told(&command, &error.to_string()),
    }
}

fn told(command: &str, why: &str) -> bool {
    output::say(format_args!("wireprof: no pager `{command}`: {why}; set PAGER, or give --no-pager"));
    false
}

/// The pager; `None` where the user wants none.
fn command(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let command = variable("WIREPROF_PAGER").or_else(|| variable("PAGER")).unwrap_or_else(|| "less".into());
    let command = command.trim();
    (!command.is_empty() && command != "cat").then(|| command.to_string())
}

/// Gives the text to the command and waits for its end.
fn through(command: &str, text: &str) -> std::io::Result<ExitStatus> {
    let mut pager = called(command);
    pager.stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        pager.env("LESS", LESS);
    }
    let mut child = pager.spawn()?;
    // Ctrl-C is for the pager, which searches and ends by it; without us it would go on alone with the terminal.
    let ignored = Ignored::interrupts();
    let written = write(&mut child, text);
    let ended = child.wait();
    drop(ignored);
    written.and(ended)
}

/// The command by itself where no shell is needed, which would tell of its absence in its own words.
fn called(command: &str) -> Command {
    let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "_-+./,:".contains(c));
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.split_first().filter(|_| words.iter().all(|word| plain(word))) {
        Some((program, arguments)) => {
            let mut called = Command::new(program);
            called.args(arguments);
            called
        }
        None => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(command);
            shell
        }
    }
}

/// A pager that is left before the text's end has read all that it wants.
fn write(child: &mut Child, text: &str) -> std::io::Result<()> {
    let Some(mut input) = child.stdin.take() else { return Ok(()) };
    match input.write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// SIGINT is ignored while this lives; `None`: the kernel refused, and it is as it was.
struct Ignored(Option<libc::sigaction>);

impl Ignored {
    fn interrupts() -> Ignored {
        // SAFETY: a `sigaction` of zeroes is a valid one: no flags, an empty mask, the default handler.
        let (mut ignore, mut before): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        ignore.sa_sigaction = libc::SIG_IGN;
        // SAFETY: both point to live values of the type that the call reads and writes.
        let done = unsafe { libc::sigaction(libc::SIGINT, &raw const ignore, &raw mut before) };
        Ignored((done == 0).then_some(before))
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: the action is the one that was in force, whole, as the kernel gave it.
            unsafe { libc::sigaction(libc::SIGINT, before, std::ptr::null_mut()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_the_users_else_less_and_cat_is_none() {
        let of = |set: &[(&str, &str)]| {
            command(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string()))
        };
        assert_eq!(of(&[]).as_deref(), Some("less"));
        assert_eq!(of(&[("PAGER", "more")]).as_deref(), Some("more"));
        assert_eq!(of(&[("PAGER", "more"), ("WIREPROF_PAGER", "most -s")]).as_deref(), Some("most -s"));
        assert_eq!((of(&[("PAGER", "cat")]), of(&[("PAGER", "more"), ("WIREPROF_PAGER", "")])), (None, None));
    }

    #[test]
    fn a_pager_gets_the_text_and_one_that_is_left_early_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("shown");
        let status = through(&format!("cat > '{}'; exit 3", to.display()), "a\nb\n").unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(to).unwrap(), "a\nb\n");
        let long = "line\n".repeat(100_000);
        assert!(through("head -n 1 > /dev/null", &long).unwrap().success());
        assert_eq!(through("wireprof-no-such-pager 2> /dev/null", "a").unwrap().code(), Some(127));
        assert_eq!(through("wireprof-no-such-pager -x", "a").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
