//! The processes of a program that a step started: ended together, with the step or with the run.

use parking_lot::Mutex;
use tokio::process::{Child, Command};

/// The process group of a program. Dropping it ends what is left of it.
#[derive(Debug)]
pub(in crate::actions) struct Group {
    #[cfg(unix)]
    id: Option<nix::unistd::Pid>,
}

/// Groups of which something still runs although the program has ended (a server in the background). Dropped at the end
/// of the run.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<Vec<Group>>);

impl Groups {
    /// Keeps a group until the end of the run, if anything in it still runs.
    pub(super) fn keep(&self, group: Group) {
        if group.is_alive() {
            self.0.lock().push(group);
        } else {
            group.forget();
        }
    }
}

/// Puts what the command starts into a group of its own, out of reach of the terminal's signals.
pub(in crate::actions) fn apart(command: &mut Command) {
    #[cfg(unix)]
    command.process_group(0);
    command.kill_on_drop(true);
}

impl Group {
    /// The group of a program that [`apart`] set apart.
    #[cfg(unix)]
    pub(in crate::actions) fn of(child: &Child) -> Self {
        Self { id: child.id().and_then(|id| i32::try_from(id).ok()).map(nix::unistd::Pid::from_raw) }
    }

    /// Where there are no groups, only the program itself is ended, when its handle is dropped.
    #[cfg(not(unix))]
    pub(in crate::actions) fn of(_: &Child) -> Self {
        Self {}
    }

    /// Whether anything in it runs. The program itself must have been waited for.
    #[cfg(unix)]
    fn is_alive(&self) -> bool {
        self.id.is_some_and(|id| nix::sys::signal::killpg(id, None).is_ok())
    }

    #[cfg(not(unix))]
    fn is_alive(&self) -> bool {
        false
    }

    /// There is nothing left of it: its number may soon be another's.
    #[cfg_attr(not(unix), allow(clippy::unused_self, reason = "there are no groups"))]
    fn forget(self) {
        #[cfg(unix)]
        {
            let mut group = self;
            group.id = None;
        }
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // Nothing can be done when it is gone already.
            let _ = nix::sys::signal::killpg(id, nix::sys::signal::Signal::SIGKILL);
        }
    }
}
