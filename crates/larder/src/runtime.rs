//! Where a cache's tasks run: in the runtime it was built in, or in a small one of its own.

use std::pin::{Pin, pin};

use futures_util::future::BoxFuture;
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

    /// Starts a task that nobody waits for. All are of one type: the runtime's part of a task is compiled once, and not for each
    /// kind of task of each kind of cache.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task: BoxFuture<'static, ()> = Box::pin(task);
        self.handle().spawn(task);
    }

    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Guest(handle) | Self::Own(_, handle) => handle,
        }
    }

    /// Waits for `future` on a thread that may be blocked.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        self.wait_for(pin!(future))
    }

    /// Compiled once for all futures of the same answer.
    fn wait_for<T>(&self, future: Pin<&mut dyn Future<Output = T>>) -> Result<T, Error> {
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
