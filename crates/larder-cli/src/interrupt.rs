//! Being asked to end: by Ctrl-C, or by SIGTERM, as whoever manages services does.

use crate::failure::Failure;

/// The exit code of what a signal ended, as shells tell it of Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Hears it from the moment on that this is made, in a tokio runtime.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Interrupt {
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self { signals: [interrupt.map_err(unheard)?, terminate.map_err(unheard)?] })
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Returns once somebody has asked.
    pub(crate) async fn heard(&mut self) -> Result<(), Failure> {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok(())
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map_err(unheard)
    }
}

/// Whoever ends this process now ends it when this has cleaned up; for commands that run in no tokio runtime.
pub(crate) fn clean_up(clean: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unheard)?;
    let mut interrupt = runtime.block_on(async { Interrupt::listen() })?;
    std::thread::spawn(move || {
        if runtime.block_on(interrupt.heard()).is_ok() {
            clean();
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::Failed(format!("no signal to end is heard: {error}"))
}
