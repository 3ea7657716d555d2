//! The daemon's side: starts a worker, reads its messages, and kills it when it stalls.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command as Process},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use super::pipe::{drain, read_line};
use crate::{BackupError, BackupErrorKind, Command, Event, Job, Report, job::Line};

/// How long a worker's stderr may stay open after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Workers {
    program: PathBuf,
    args: Vec<String>,
    stall: Duration,
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The end of its stderr, which is read continuously: a full pipe would block it.
    errors: JoinHandle<String>,
    stall: Duration,
}

impl Workers {
    /// Starts workers as this program with these arguments, which calls
    /// [`run_worker`](crate::run_worker). A worker that sends nothing for `stall` is killed.
    pub fn new(program: PathBuf, args: Vec<String>, stall: Duration) -> Self {
        Self { program, args, stall }
    }

    /// Starts a worker on a job. The job, keys included, goes through its stdin.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self, job: &Job) -> Result<Running, BackupError> {
        let wrong = |e: &dyn std::fmt::Display| {
            let text = format!("cannot start a worker ({}): {e}", self.program.display());
            BackupError::new(BackupErrorKind::Unavailable, text)
        };
        let mut process = Process::new(&self.program);
        if job.repository.is_none() {
            // It opens files of a tenant, so it must not have our secrets, such as the credentials
            // of a bucket.
            process.env_clear();
        }
        let mut child = process
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| wrong(&e))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = pipes else {
            return Err(wrong(&"it has no pipes"));
        };
        let mut line = Zeroizing::new(serde_json::to_vec(job).map_err(|e| wrong(&e))?);
        line.push(b'\n');
        input.write_all(&line).await.map_err(|e| wrong(&e))?;
        let errors = tokio::spawn(drain(errors));
        let output = BufReader::new(output);
        Ok(Running { child, input, output, errors, stall: self.stall })
    }
}

impl Running {
    /// Waits for the next event.
    ///
    /// # Errors
    /// The error of the job; [`BackupErrorKind::Stalled`] and [`BackupErrorKind::Died`] when the
    /// worker itself failed.
    pub async fn next(&mut self) -> Result<Event, BackupError> {
        let line = match tokio::time::timeout(self.stall, read_line(&mut self.output)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
                let _ = self.child.kill().await;
                return Err(BackupError::new(
                    BackupErrorKind::Died,
                    format!("the worker sent {e}"),
                ));
            }
            Ok(Ok(None) | Err(_)) => return Err(self.died().await),
            Err(_) => {
                let _ = self.child.kill().await;
                let text = format!(
                    "the worker made no progress for {} s and was ended",
                    self.stall.as_secs()
                );
                return Err(BackupError::new(BackupErrorKind::Stalled, text));
            }
        };
        match serde_json::from_slice(&line) {
            Ok(Line::Event(event)) => Ok(event),
            // A worker that opens files of a tenant may be compromised: its message is bounded here.
            Ok(Line::Failed(error)) => Err(BackupError::new(error.kind, error.message)),
            Err(_) => {
                let _ = self.child.kill().await;
                Err(BackupError::new(BackupErrorKind::Died, "the worker sent an invalid message"))
            }
        }
    }

    /// Sends a command to the worker.
    ///
    /// # Errors
    /// [`BackupErrorKind::Died`].
    pub async fn send(&mut self, command: Command) -> Result<(), BackupError> {
        let mut line = serde_json::to_vec(&command).unwrap_or_default();
        line.push(b'\n');
        match self.input.write_all(&line).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.died().await),
        }
    }

    /// Waits for the end of a job that needs no commands.
    ///
    /// # Errors
    /// As [`Running::next`].
    pub async fn finish(mut self) -> Result<Report, BackupError> {
        loop {
            match self.next().await? {
                Event::Done(report) => return Ok(report),
                Event::Progress(_) => {}
                other => {
                    let text = format!("the worker sent an unexpected {other:?}");
                    return Err(BackupError::new(BackupErrorKind::Died, text));
                }
            }
        }
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    async fn died(&mut self) -> BackupError {
        let _ = self.child.start_kill();
        // A process that the worker started could hold the pipe open.
        let last = match tokio::time::timeout(LAST_WORDS, &mut self.errors).await {
            Ok(Ok(last)) => last,
            _ => String::new(),
        };
        self.errors.abort();
        let end = self.child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
        if last.contains("memory allocation") {
            let text = "the worker met its memory limit: raise backup.worker_memory_mib";
            return BackupError::new(BackupErrorKind::Memory, text);
        }
        let last = last.lines().last().unwrap_or_default();
        BackupError::new(
            BackupErrorKind::Died,
            format!("the worker ended unexpectedly ({end}) {last}"),
        )
    }
}
