//! The workers: the real `pipectl`, one process each, all with the same file.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::time::until;
use crate::{Error, Result};

/// How long a worker may take to end in order.
const STOP: Duration = Duration::from_secs(12);
/// The signal of `abort`.
const ABORTED: i32 = 6;

/// All workers.
pub(crate) struct Workers {
    program: PathBuf,
    file: PathBuf,
    folder: PathBuf,
    workers: Vec<Worker>,
}

struct Worker {
    child: Option<Child>,
    starts: usize,
    log: PathBuf,
    /// True where it shall end at a fail point.
    armed: bool,
}

/// Why a pipeline file is written with these settings: they make the faults quicker to see.
fn file(address: &str, suffix: &str) -> String {
    format!(
        "name: chaos-{suffix}
connections:
  kafka:
    brokers: \"{address}\"
    # Shorter than the defaults, so that a kill and a stop are noticed sooner.
    properties: {{ session.timeout.ms: 6000, max.poll.interval.ms: 12000 }}
pipelines:
  counts:
    - source: kafka
      with: {{ topic: in-{suffix}, format: {{ json: {{ fields: {{ id: integer, key: text }} }} }} }}
    - window: count-by-key
      with: {{ key: key, size: 1s, out_of_orderness: 200ms }}
    - sink: kafka
      with: {{ topic: counts-{suffix}, encode: json }}
  late:
    - from: counts.count-by-key.late
    - sink: kafka
      with: {{ topic: late-{suffix}, encode: json }}
  # Beside the windows: their rows are read again after each fault, and reach no copy.
  copies:
    - from: counts.kafka
    - sink: kafka
      with: {{ topic: copies-{suffix}, encode: json }}
  minutes:
    - from: counts.kafka
    - window: count-by-key
      with: {{ key: key, size: 1m, out_of_orderness: 200ms }}
    - sink: kafka
      with: {{ topic: minutes-{suffix}, encode: json }}
"
    )
}

impl Workers {
    /// Writes the pipeline file; nothing runs yet.
    pub(crate) fn new(program: &Path, folder: &Path, address: &str, suffix: &str) -> Result<Self> {
        let path = folder.join("pipeline.yaml");
        std::fs::write(&path, file(address, suffix))?;
        Ok(Self { program: program.to_owned(), file: path, folder: folder.to_owned(), workers: Vec::new() })
    }

    /// How many there are, running or not.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The numbers of those that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|w| self.workers[*w].child.is_some()).collect()
    }

    /// Starts one more.
    pub(crate) fn add(&mut self) -> Result<usize> {
        self.workers.push(Worker { child: None, starts: 0, log: PathBuf::new(), armed: false });
        self.start(self.workers.len() - 1, None)?;
        Ok(self.workers.len() - 1)
    }

    /// Starts one that does not run; at a fail point it ends by itself.
    pub(crate) fn start(&mut self, number: usize, fail_point: Option<&str>) -> Result<()> {
        let worker = &mut self.workers[number];
        worker.starts += 1;
        worker.armed = fail_point.is_some();
        worker.log = self.folder.join(format!("worker-{number}-{}.log", worker.starts));
        let log = std::fs::File::create(&worker.log)?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--log-format", "json"]).arg(&self.file);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(point) = fail_point {
            command.env("PIPECTL_FAIL_POINT", point);
        }
        worker.child = Some(command.spawn()?);
        Ok(())
    }

    /// Its process.
    pub(crate) fn process(&self, number: usize) -> Option<u32> {
        self.workers[number].child.as_ref().map(Child::id)
    }

    /// Kills it.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        self.look(number)?;
        if let Some(mut child) = self.workers[number].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends it a signal, by `kill`'s name of it.
    pub(crate) fn signal(&self, number: usize, signal: &str) -> Result<()> {
        let Some(process) = self.process(number) else { return Ok(()) };
        let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(Error::from(format!("worker {number} takes no signal"))) }
    }

    /// Ends it in order, which it has to do with 0 and in time.
    pub(crate) fn stop(&mut self, number: usize) -> Result<()> {
        self.look(number)?;
        self.signal(number, "TERM")?;
        let mut ended = None;
        until(STOP, || {
            ended = self.ended(number)?;
            Ok(ended.is_some())
        })?;
        match ended {
            Some(status) if status.success() => {
                self.workers[number].child = None;
                Ok(())
            }
            Some(status) => Err(self.complaint(number, &format!("was stopped and ended with {status}"))),
            None => Err(self.complaint(number, &format!("was stopped and still ran after {STOP:?}"))),
        }
    }

    fn ended(&mut self, number: usize) -> Result<Option<ExitStatus>> {
        Ok(match &mut self.workers[number].child {
            Some(child) => child.try_wait()?,
            None => None,
        })
    }

    /// True once an armed worker has ended at its fail point.
    pub(crate) fn failed(&mut self, number: usize) -> Result<bool> {
        match self.ended(number)? {
            None => Ok(false),
            Some(status) if status.signal() == Some(ABORTED) => {
                self.workers[number].child = None;
                self.workers[number].armed = false;
                Ok(true)
            }
            Some(status) => {
                Err(self.complaint(number, &format!("ended with {status} instead of at its fail point")))
            }
        }
    }

    /// Nobody but those at a fail point may end by themselves.
    pub(crate) fn look_at_all(&mut self) -> Result<()> {
        (0..self.workers.len()).try_for_each(|number| self.look(number))
    }

    fn look(&mut self, number: usize) -> Result<()> {
        match self.ended(number)? {
            Some(status) if !self.workers[number].armed => {
                Err(self.complaint(number, &format!("ended by itself with {status}")))
            }
            _ => Ok(()),
        }
    }

    fn complaint(&self, number: usize, what: &str) -> Error {
        let log = &self.workers[number].log;
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Error::from(format!("worker {number} {what}; its log is {}:\n{}", log.display(), last.join("\n")))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if let Some(child) = &mut worker.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
