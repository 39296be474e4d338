//! Being asked to end: by Ctrl-C, or by SIGTERM, as whoever manages services does.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;

/// The exit codes of what a signal ended, as shells tell it of Ctrl-C and of SIGTERM.
const INTERRUPTED: i32 = 130;
#[cfg(unix)]
const TERMINATED: i32 = 143;

/// Hears it from the moment on that this is made, in a tokio runtime, for a command that then ends in order.
pub(crate) struct Interrupt(Ends);

impl Interrupt {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let ends = Ends::listen()?;
        IS_HEARD.store(true, Ordering::Relaxed);
        Ok(Self(ends))
    }

    /// Returns once somebody has asked.
    pub(crate) async fn heard(&mut self) -> Result<(), Failure> {
        self.0.heard().await.map(drop)
    }
}

struct Ends {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Ends {
    #[cfg(unix)]
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self { signals: [interrupt.map_err(unheard)?, terminate.map_err(unheard)?] })
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// The exit code of what it ends.
    async fn heard(&mut self) -> Result<i32, Failure> {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            Ok(tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            })
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map(|()| INTERRUPTED).map_err(unheard)
    }
}

/// Temporary files of ours that are there now, or were.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Whether a command hears by itself, and ends in order.
static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Whoever ends this process from now on ends it when the file is gone.
pub(crate) fn remove(file: PathBuf) -> Result<(), Failure> {
    let mut files = temporary();
    if files.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unheard)?;
        let mut ends = runtime.block_on(async { Ends::listen() })?;
        std::thread::spawn(move || {
            if let Ok(code) = runtime.block_on(ends.heard())
                && !IS_HEARD.load(Ordering::Relaxed)
            {
                // They may be gone already.
                temporary().iter().for_each(|file| drop(std::fs::remove_file(file)));
                std::process::exit(code);
            }
        });
    }
    files.push(file);
    Ok(())
}

/// A panic elsewhere leaves no list half written.
fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that may grow no further (`ulimit -f`) fails to be written, as one on a full disk does; it does not end the process, which would leave what
/// is half written.
pub(crate) fn outlive_full_files() {
    #[cfg(unix)]
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        // Heard once, it no longer ends anything, listener or not.
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ)));
    }
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::Failed(format!("no signal to end is heard: {error}"))
}
