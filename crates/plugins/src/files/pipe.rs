//! Bytes that pass once, such as those of standard input.
//!
//! A thread of its own reads them: a read may wait for ever, and cannot be called off. A runtime would wait
//! for it at its end; the process does not. The thread hands on a bounded number of chunks, so that whoever
//! writes is held up where the chain is slower.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How it is called in messages.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// How much is read at once: what a pipe holds on Linux.
const CHUNK: usize = 64 * 1024;
/// How many chunks are read ahead.
const AHEAD: usize = 4;
/// How often it is looked for more while a pipeline is planned.
const LOOK: Duration = Duration::from_millis(10);
/// For how long planning waits before it says so.
const PATIENCE: Duration = Duration::from_secs(2);

type Chunk = io::Result<Vec<u8>>;

/// Bytes that pass once. What planning has looked at is kept, and given again to the run.
pub(super) struct Pipe {
    state: Mutex<State>,
    taken: AtomicBool,
}

struct State {
    chunks: Receiver<Chunk>,
    /// `bytes[at..]` has come and was not given.
    bytes: Vec<u8>,
    at: usize,
    /// What was given is kept, to be given again.
    keeps: bool,
    /// Nothing more comes.
    over: bool,
    /// Why nothing more comes.
    failed: Option<(ErrorKind, String)>,
    /// Something has come.
    begun: bool,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}

/// Standard input, once somebody has asked for it.
static STANDARD: OnceLock<Arc<Pipe>> = OnceLock::new();

impl Pipe {
    /// Standard input. Nothing is read of it before this is called.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn standard() -> io::Result<Arc<Self>> {
        match STANDARD.get() {
            Some(pipe) => Ok(pipe.clone()),
            None => {
                let pipe = Self::of(io::stdin())?;
                Ok(STANDARD.get_or_init(|| pipe).clone())
            }
        }
    }

    /// What comes from `input`.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn of(input: impl Read + Send + 'static) -> io::Result<Arc<Self>> {
        let (sender, chunks) = channel(AHEAD);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || read_all(input, &sender))?;
        let state =
            State { chunks, bytes: Vec::new(), at: 0, keeps: true, over: false, failed: None, begun: false };
        Ok(Arc::new(Self { state: Mutex::new(state), taken: AtomicBool::new(false) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it for a source; false where another one has.
    pub(super) fn take(&self) -> bool {
        !self.taken.swap(true, SeqCst)
    }

    /// Goes back to its beginning, as long as that is kept.
    pub(super) fn rewind(&self) {
        let mut state = self.state();
        if state.keeps {
            state.at = 0;
        }
    }

    /// From now on what is given is not kept.
    pub(super) fn settle(&self) {
        self.state().keeps = false;
    }

    /// The first of the bytes that were not given, up to `most`, as far as they are there; and whether more
    /// may come.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn peek(&self, most: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut state = self.state();
        let mut comes = true;
        while comes && state.bytes.len() - state.at < most {
            match state.receive() {
                Ok(more) => comes = more,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        let there = state.bytes.get(state.at..).unwrap_or_default();
        Ok((there.get(..most.min(there.len())).unwrap_or_default().to_vec(), comes))
    }

    /// Goes behind all that is there.
    pub(super) fn pass_over(&self) {
        let mut state = self.state();
        state.at = state.bytes.len();
    }

    /// True where something has come.
    pub(super) fn has_begun(&self) -> bool {
        self.state().begun
    }

    /// True where nothing has come, and nothing will.
    pub(super) fn was_empty(&self) -> bool {
        let state = self.state();
        state.over && !state.begun
    }

    /// Waits until there is something to read, be it the end. Cancel-safe.
    pub(super) async fn ready(&self) {
        poll_fn(|context| {
            let mut state = self.state();
            if state.has_something() {
                return Poll::Ready(());
            }
            match state.chunks.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(chunk) => {
                    state.take_in(chunk);
                    Poll::Ready(())
                }
            }
        })
        .await;
    }

    /// The same where a pipeline is planned, behind all that was read of it; `waits` says for what.
    pub(super) fn wait(&self, for_what: &str) {
        let (begin, mut said) = (Instant::now(), false);
        while !self.has_more() {
            if !said && begin.elapsed() >= PATIENCE {
                said = true;
                tracing::warn!("waits for {for_what}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// True where there is something to read, be it the end.
    fn has_more(&self) -> bool {
        let mut state = self.state();
        // An error is one of those that reading gives.
        state.has_something() || !matches!(state.receive(), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }
}

impl State {
    fn has_something(&self) -> bool {
        self.at < self.bytes.len() || self.over || self.failed.is_some()
    }

    /// Takes in what has come; `None` is the end.
    fn take_in(&mut self, chunk: Option<Chunk>) {
        match chunk {
            None => self.over = true,
            Some(Err(e)) => self.failed = Some((e.kind(), e.to_string())),
            Some(Ok(mut chunk)) => {
                self.begun = true;
                match self.keeps || self.at < self.bytes.len() {
                    true => self.bytes.append(&mut chunk),
                    false => (self.bytes, self.at) = (chunk, 0),
                }
            }
        }
    }

    /// Takes in the next chunk if it is there; false at the end.
    fn receive(&mut self) -> io::Result<bool> {
        if self.failed.is_none() && !self.over {
            match self.chunks.try_recv() {
                Ok(chunk) => self.take_in(Some(chunk)),
                Err(TryRecvError::Disconnected) => self.take_in(None),
                Err(TryRecvError::Empty) => return Err(ErrorKind::WouldBlock.into()),
            }
        }
        match &self.failed {
            Some((kind, why)) => {
                Err(io::Error::new(*kind, format!("{STANDARD_INPUT} cannot be read: {why}")))
            }
            None => Ok(!self.over),
        }
    }
}

/// Reads a pipe: what has come, and `WouldBlock` where nothing has.
#[derive(Debug)]
pub(super) struct Given(pub(super) Arc<Pipe>);

impl Read for Given {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.at == state.bytes.len() && !state.receive()? {
            return Ok(0);
        }
        let there = state.bytes.get(state.at..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        let (from, to) =
            (there.get(..length).unwrap_or_default(), buffer.get_mut(..length).unwrap_or_default());
        to.copy_from_slice(from);
        state.at += length;
        Ok(length)
    }
}

/// Hands on what is read, until the end or until nobody wants it.
fn read_all(mut input: impl Read, sender: &Sender<Chunk>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let chunk = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => Ok(buffer.get(..read).unwrap_or_default().to_vec()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let failed = chunk.is_err();
        if sender.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Gives what is sent to it, one text a read.
    pub(in crate::files) struct Written(pub(in crate::files) mpsc::Receiver<Chunk>);

    impl Read for Written {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Ok(chunk) = self.0.recv() else { return Ok(0) };
            let chunk = chunk?;
            buffer[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len())
        }
    }

    fn pipe() -> (mpsc::Sender<Chunk>, Arc<Pipe>, Given) {
        let (sender, receiver) = mpsc::channel();
        let pipe = Pipe::of(Written(receiver)).unwrap();
        (sender, pipe.clone(), Given(pipe))
    }

    fn read(given: &mut Given) -> Result<String, ErrorKind> {
        let mut buffer = [0; 100];
        given
            .read(&mut buffer)
            .map(|n| String::from_utf8(buffer[..n].to_vec()).unwrap())
            .map_err(|e| e.kind())
    }

    #[tokio::test]
    async fn what_was_looked_at_is_given_again_until_it_is_settled() {
        let (sender, pipe, mut given) = pipe();
        assert_eq!(read(&mut given), Err(ErrorKind::WouldBlock));
        for text in ["a,b\n", "1,", "2\n", "3,4\n"] {
            sender.send(Ok(text.into())).unwrap();
            pipe.ready().await;
            assert_eq!(read(&mut given).unwrap(), text);
        }
        pipe.rewind();
        assert_eq!(pipe.peek(5).unwrap(), (b"a,b\n1".to_vec(), true));
        assert_eq!(read(&mut given).unwrap(), "a,b\n1,2\n3,4\n");
        pipe.settle();
        pipe.rewind();
        assert_eq!(read(&mut given), Err(ErrorKind::WouldBlock));
        sender.send(Ok(b"5".to_vec())).unwrap();
        pipe.wait("a row");
        drop(sender);
        assert_eq!(read(&mut given).unwrap(), "5");
        pipe.ready().await;
        assert_eq!((read(&mut given).unwrap().as_str(), pipe.was_empty()), ("", false));
    }

    #[tokio::test]
    async fn a_failure_is_the_same_however_often_it_is_met() {
        let (sender, pipe, mut given) = pipe();
        sender.send(Err(ErrorKind::IsADirectory.into())).unwrap();
        for _ in 0..2 {
            pipe.ready().await;
            pipe.wait("a row");
            assert_eq!(read(&mut given), Err(ErrorKind::IsADirectory));
            assert_eq!(pipe.peek(1).unwrap_err().kind(), ErrorKind::IsADirectory);
        }
        assert!(!pipe.was_empty());
    }

    #[test]
    fn whoever_writes_is_held_up_and_one_source_takes_it() {
        let endless = io::repeat(b'x');
        let pipe = Pipe::of(endless).unwrap();
        assert!(pipe.take() && !pipe.take());
        pipe.wait("a row");
        // The channel is full, and what it has is all that there is.
        while pipe.state().chunks.len() < AHEAD {
            std::thread::yield_now();
        }
        assert_eq!(pipe.state().bytes.len(), CHUNK);
    }

    #[tokio::test]
    async fn an_empty_one_is_known() {
        let pipe = Pipe::of(io::empty()).unwrap();
        pipe.ready().await;
        assert!(pipe.was_empty());
    }
}
