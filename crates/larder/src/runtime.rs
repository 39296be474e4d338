//! Where a cache's tasks run: in the runtime it was built in, or in a small one of its own.

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use crate::{Error, ErrorKind};

#[derive(Debug)]
pub(crate) enum Home {
    Guest(Handle),
    /// `Some` until it is dropped.
    Own(Option<Runtime>, Handle),
}

impl Home {
    /// The runtime this is called in, or one of its own with one thread.
    pub(crate) fn find() -> Result<Self, Error> {
        if let Ok(handle) = Handle::try_current() {
            return Ok(Self::Guest(handle));
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("larder").enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::caused(ErrorKind::Config, format!("no thread could be started for the cache: {error}"), error)
        })?;
        let handle = runtime.handle().clone();
        Ok(Self::Own(Some(runtime), handle))
    }

    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Guest(handle) | Self::Own(_, handle) => handle,
        }
    }

    /// Waits for `future` on a thread that may be blocked.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        match Handle::try_current().map(|current| current.runtime_flavor()) {
            Err(_) => Ok(self.handle().block_on(future)),
            Ok(RuntimeFlavor::MultiThread) => Ok(tokio::task::block_in_place(|| self.handle().block_on(future))),
            Ok(_) => {
                let what = "a blocking call inside a runtime of one thread would stop it: use the async face there";
                Err(Error::new(ErrorKind::Config, what))
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The last handle to a cache may go inside one of its own tasks, where waiting for them is forbidden.
        if let Self::Own(runtime, _) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
