//! Being asked to end: by Ctrl-C, or by SIGTERM, as whoever manages services does.

use crate::failure::Failure;

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

fn unheard(error: std::io::Error) -> Failure {
    Failure::Failed(format!("no signal to end is heard: {error}"))
}
