//! The worker's side of the protocol: messages on stdout, commands on stdin. The end of stdin means
//! that the daemon ended, so the worker exits: it must not work unsupervised.

use std::{
    io::{self, BufRead, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
};

use crate::{BackupError, Command, Event, job::Line, take::aborted};

/// The connection to the daemon.
pub(crate) struct Talk {
    commands: Mutex<Receiver<Command>>,
    speaker: Speaker,
}

/// Sends messages, from any thread.
#[derive(Clone)]
pub(crate) struct Speaker(Arc<Mutex<Box<dyn Write + Send>>>);

impl Speaker {
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(out))))
    }

    pub fn say(&self, event: Event) {
        self.line(&Line::Event(event));
    }

    /// Errors are ignored: they mean that the daemon ended, which the end of stdin reports.
    pub fn line(&self, line: &Line) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(&text).and_then(|()| out.flush());
    }
}

impl Talk {
    pub fn new(speaker: Speaker) -> (Self, Sender<Command>) {
        let (sender, receiver) = channel();
        (Self { commands: Mutex::new(receiver), speaker }, sender)
    }

    pub fn say(&self, event: Event) {
        self.speaker.say(event);
    }

    pub fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// Waits for this command; anything else ends the job.
    pub fn expect(&self, wanted: Command) -> Result<(), BackupError> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.recv() {
            Ok(command) if command == wanted => Ok(()),
            Ok(other) => Err(aborted(Some(other))),
            Err(_) => Err(aborted(None)),
        }
    }
}

/// Forwards commands from `input` until it ends; then calls `end`.
pub(crate) fn listen(mut input: impl BufRead, commands: &Sender<Command>, end: impl FnOnce()) {
    let mut line = String::new();
    loop {
        line.clear();
        match input.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => match serde_json::from_str(&line) {
                Ok(command) if commands.send(command).is_ok() => {}
                _ => break,
            },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    end();
}
