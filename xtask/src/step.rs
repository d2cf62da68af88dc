//! One line per step, on standard error: while it runs (again and again where there is no terminal), and when it is done.

use std::io::{self, BufReader, IsTerminal, Read, Write};
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
        for line in lines(child.stderr.take().context("standard error is a pipe")?) {
            let line = line?;
            if let Some(note) = note(&line) {
                self.note(note);
            } else if !line.is_empty() {
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

/// The lines of `stream` as they come. Those of a progress bar end in a carriage return.
fn lines(stream: impl Read) -> impl Iterator<Item = io::Result<String>> {
    let mut bytes = BufReader::new(stream).bytes();
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        for byte in bytes.by_ref() {
            match byte {
                Ok(b'\n' | b'\r') => return Some(Ok(String::from_utf8_lossy(&line).into_owned())),
                Ok(byte) => line.push(byte),
                Err(error) => return Some(Err(error)),
            }
        }
        (!line.is_empty()).then(|| Ok(String::from_utf8_lossy(&line).into_owned()))
    })
}

/// Runs a step; what `work` returns beside its result says how it went, in a few words.
pub(crate) fn step<T>(name: &str, work: impl FnOnce(&Progress) -> Result<(T, String)>) -> Result<T> {
    let begun = Instant::now();
    let progress = Progress::default();
    let is_terminal = std::io::stderr().is_terminal();
    let result = std::thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        let (before, after, pause) = if is_terminal {
            ("\r\x1b[K", "", Duration::from_millis(200))
        } else {
            ("", "\n", Duration::from_secs(20))
        };
        if !is_terminal {
            eprintln!("… {name}");
        }
        scope.spawn({
            let progress = &progress;
            move || {
                while wait.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    let note = progress.current();
                    let _ = write!(std::io::stderr(), "{before}… {name} {note} ({}){after}", elapsed(begun));
                }
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_a_newline_or_a_carriage_return() {
        let text: Vec<String> = lines("1/2: a\r2/2: b\rFinished\nrest".as_bytes()).map_while(Result::ok).collect();
        assert_eq!(text, ["1/2: a", "2/2: b", "Finished", "rest"]);
    }
}
