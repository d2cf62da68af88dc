//! One line per step, on standard error: while it runs, on a terminal, and when it is done.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a running step is at.
#[derive(Default)]
pub(crate) struct Progress(Mutex<String>);

impl Progress {
    /// Shows `note` beside the step's name.
    pub(crate) fn note(&self, note: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = note.into();
    }

    fn current(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a command whose output is shown only when it fails. `note` makes a note of a line of its standard error.
    pub(crate) fn follow(&self, command: &mut Command, mut note: impl FnMut(&str) -> Option<String>) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running {program}"))?;
        let mut output = String::new();
        for line in BufReader::new(child.stderr.take().context("standard error is a pipe")?).lines() {
            let line = line?;
            if let Some(note) = note(&line) {
                self.note(note);
            } else {
                output.push_str(&line);
                output.push('\n');
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{program}` failed ({status})\n{}", output.trim_end());
        }
        Ok(())
    }
}

/// Runs a step; what `work` returns beside its result says how it went, in a few words.
pub(crate) fn step<T>(name: &str, work: impl FnOnce(&Progress) -> Result<(T, String)>) -> Result<T> {
    let begun = Instant::now();
    let progress = Progress::default();
    let is_terminal = std::io::stderr().is_terminal();
    let result = std::thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        if is_terminal {
            scope.spawn({
                let progress = &progress;
                move || {
                    while wait.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                        let note = progress.current();
                        let _ = write!(std::io::stderr(), "\r\x1b[K… {name} {note} ({})", elapsed(begun));
                    }
                }
            });
        } else {
            eprintln!("… {name}");
        }
        let result = work(&progress);
        drop(done);
        result
    });
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    match result {
        Ok((value, outcome)) => {
            eprintln!("✓ {name}: {outcome} ({})", elapsed(begun));
            Ok(value)
        }
        Err(error) => {
            eprintln!("✗ {name} ({})", elapsed(begun));
            Err(error)
        }
    }
}

/// The time since `begun`, as people say it.
pub(crate) fn elapsed(begun: Instant) -> String {
    let time = begun.elapsed();
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}
