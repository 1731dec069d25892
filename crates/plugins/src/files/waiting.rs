//! Calls that wait for a disk.

use std::fs::File;
use std::io::{self, Read};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs a call that may have to wait for a disk, or for a file system of another machine. The other tasks of
/// its thread go on elsewhere meanwhile: chains, the page and the figures do not stand still for it.
///
/// Unlike `spawn_blocking` it needs no copy of what is read into, and a call that is under way is never given
/// up.
pub(super) fn waiting<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}

/// Reads on in a file. What the kernel has at hand is taken at once: to go elsewhere for it costs more than
/// to read it.
///
/// # Errors
/// Those of [`Read::read`].
pub(super) fn read(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    match at_hand(file, buffer) {
        Some(read) => Ok(read),
        None => waiting(|| file.read(buffer)),
    }
}

/// How much of what comes next in a file was read without waiting; `None` where that has to wait, or the
/// kernel cannot say.
#[cfg(target_os = "linux")]
fn at_hand(file: &File, buffer: &mut [u8]) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    // `RWF_NOWAIT` of preadv2(2); this offset is the file's own, which goes on.
    preadv2(file, &mut [io::IoSliceMut::new(buffer)], u64::MAX, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn at_hand(_: &File, _: &mut [u8]) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_other_tasks_of_the_only_thread_go_on_while_a_call_waits() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (tell, told) = mpsc::channel();
        let call =
            runtime.spawn(async move { waiting(|| told.recv_timeout(std::time::Duration::from_secs(5))) });
        let other = runtime.spawn(async move {
            tokio::task::yield_now().await;
            tell.send(()).unwrap();
        });
        runtime.block_on(async {
            assert_eq!(call.await.unwrap(), Ok(()));
            other.await.unwrap();
        });
    }

    #[test]
    fn without_such_a_runtime_the_call_is_made_as_it_is() {
        assert_eq!(waiting(|| 7), 7);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { waiting(|| 8) }), 8);
    }
}
