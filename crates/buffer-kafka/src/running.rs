//! The thread that is a member of the group, from outside: what it is told, and when it has ended.

use std::sync::Mutex;
use std::sync::mpsc::Sender;

use buffer::Error;
use tokio::sync::oneshot;

use crate::lock::lock;

/// What the thread is told.
pub(crate) enum Command {
    /// Commit all there is, and say how it went.
    Commit(oneshot::Sender<Result<(), Error>>),
    /// Commit, leave, end.
    Stop,
}

/// The thread, from outside.
pub(crate) struct Running {
    commands: Sender<Command>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Running {
    pub(crate) fn new(commands: Sender<Command>, ended: oneshot::Receiver<()>) -> Self {
        Self { commands, ended: Mutex::new(Some(ended)) }
    }

    /// Asks for a commit of all there is.
    pub(crate) fn commit(&self) -> oneshot::Receiver<Result<(), Error>> {
        let (told, answer) = oneshot::channel();
        // If the thread has ended, so has the other side of the answer.
        let _ = self.commands.send(Command::Commit(told));
        answer
    }

    /// Asks it to leave; what comes back is told when it has.
    pub(crate) fn stop(&self) -> Option<oneshot::Receiver<()>> {
        let _ = self.commands.send(Command::Stop);
        lock(&self.ended).take()
    }
}
