//! What is done to workers and brokers.

use std::time::{Duration, Instant};

use crate::stage::{RECOVERY, Stage};
use crate::time::{now, pause, until};
use crate::{Error, Result};

/// The fail points of `pipectl_framework::run::FailPoint`; written down again, as nothing here uses pipectl's
/// code.
pub(crate) const POINTS: [&str; 10] = [
    "assigned",
    "replaying",
    "read",
    "window-closed",
    "appended",
    "sending-offsets",
    "offsets-sent",
    "transaction-committed",
    "committed",
    "revoked",
];

/// How long an armed worker may take to come to its fail point.
const TO_THE_POINT: Duration = Duration::from_secs(40);

/// Kills workers at random times. One in two kills is recovered from before the next; after the others the
/// next comes within 1.5 s, while the dead worker is still away or has just been started again.
pub(crate) fn kills(stage: &mut Stage, count: usize) -> Result<()> {
    for _ in 0..count {
        if stage.over() {
            break;
        }
        stage.breathe(100, 1500)?;
        if stage.workers.running().len() < 2 || stage.random.coin() {
            start_all(stage)?;
        }
        let worker = stage.any_worker().ok_or("no worker runs")?;
        stage.workers.kill(worker)?;
        let at = stage.fault("kill -9");
        if stage.random.coin() {
            stage.breathe(0, 2000)?;
            start_all(stage)?;
            stage.wait_for_recovery("kill -9", at)?;
        }
    }
    start_all(stage)?;
    stage.wait_for_recovery("the last kill -9", now())
}

/// Starts those that do not run.
fn start_all(stage: &mut Stage) -> Result<()> {
    let running = stage.workers.running();
    for worker in (0..stage.workers.len()).filter(|worker| !running.contains(worker)) {
        stage.workers.start(worker, None)?;
    }
    Ok(())
}

/// Lets a worker die at each fail point, so often each.
pub(crate) fn points(stage: &mut Stage, each: usize) -> Result<()> {
    // Round by round, so that a limit cuts all alike.
    for _ in 0..each {
        for point in POINTS {
            if stage.over() {
                return Ok(());
            }
            at_point(stage, point)?;
        }
    }
    Ok(())
}

fn at_point(stage: &mut Stage, point: &str) -> Result<()> {
    let worker = stage.any_worker().ok_or("no worker runs")?;
    stage.workers.stop(worker)?;
    // Places that are passed once a start, and those that are passed all the time.
    let once = matches!(point, "assigned" | "replaying" | "revoked");
    let passage = if once { 1 } else { 1 + stage.random.below(20) };
    stage.workers.start(worker, Some(&format!("{point}:{passage}")))?;
    let began = Instant::now();
    let mut nudged = Instant::now();
    loop {
        if stage.workers.failed(worker)? {
            break;
        }
        stage.workers.look_at_all()?;
        if began.elapsed() > TO_THE_POINT {
            return Err(Error::from(format!("no worker died at the fail point {point}:{passage}")));
        }
        // Partitions are taken away only when another worker comes or goes.
        if point == "revoked" && nudged.elapsed() > Duration::from_secs(3) {
            nudged = Instant::now();
            let other =
                stage.workers.running().into_iter().find(|other| *other != worker).ok_or("no other")?;
            stage.workers.stop(other)?;
            stage.workers.start(other, None)?;
        }
        pause(Duration::from_millis(5))?;
    }
    let kind = format!("at {point}");
    let at = stage.fault(&kind);
    stage.workers.start(worker, None)?;
    stage.wait_for_recovery(&kind, at)
}

/// Takes brokers away one after another, in order and with kill -9 in turn, and gives them back.
pub(crate) fn brokers(stage: &mut Stage, count: usize) -> Result<()> {
    for bounce in 0..count {
        if stage.over() {
            break;
        }
        let broker = 1 + bounce % stage.cluster.brokers();
        let hard = bounce / stage.cluster.brokers() % 2 == 1;
        bounce_broker(stage, broker, if hard { "broker kill -9" } else { "broker stop" }, hard)?;
    }
    Ok(())
}

fn bounce_broker(stage: &mut Stage, broker: usize, kind: &str, hard: bool) -> Result<()> {
    // One broker at a time: with a copy missing elsewhere too few would be left for `min.insync.replicas`,
    // and Kafka itself would take nothing.
    stage.wait_until_whole()?;
    let at = stage.fault(kind);
    stage.cluster.end(broker, hard)?;
    if stage.cluster.brokers() > 1 {
        // The others take over before it comes back.
        stage.wait_for_recovery(kind, at)?;
        stage.breathe(0, 1000)?;
    } else {
        stage.breathe(500, 3000)?;
    }
    stage.cluster.restart(broker)?;
    let back = if stage.cluster.brokers() > 1 { stage.fault("broker back") } else { at };
    stage.wait_for_recovery("broker back", back)?;
    stage.breathe(500, 1500)
}

/// Stops workers where they stand, for longer than the session's time-out, and lets them go on.
pub(crate) fn pauses(stage: &mut Stage, count: usize) -> Result<()> {
    for round in 0..count {
        if stage.over() {
            break;
        }
        let worker = stage.any_worker().ok_or("no worker runs")?;
        stage.workers.signal(worker, "STOP")?;
        let stopped = stage.fault("SIGSTOP");
        // The session ends after 6 s, a transaction after 10, the poll interval after 12.
        if round % 2 == 0 {
            stage.breathe(7_000, 9_000)?;
        } else {
            stage.breathe(12_500, 15_000)?;
        }
        stage.wait_for_recovery("SIGSTOP", stopped)?;
        stage.workers.signal(worker, "CONT")?;
        let at = stage.fault("SIGCONT");
        stage.wait_for_recovery("SIGCONT", at)?;
        stage.breathe(500, 1500)?;
    }
    Ok(())
}

/// Kills the brokers that coordinate the group and a worker's transactions, in turn.
pub(crate) fn coordinators(stage: &mut Stage, count: usize) -> Result<()> {
    for round in 0..count {
        if stage.over() {
            break;
        }
        let (of_group, group) = (round % 2 == 0, stage.group());
        let mut found = None;
        // A partition may be without a leader for a moment.
        until(RECOVERY, || {
            let cluster = &stage.cluster;
            // One of the workers' ids, which begin with the chain's name as the group does.
            found = if of_group {
                cluster.group_coordinator(&group)?
            } else {
                cluster.transaction_coordinator(&group)?
            };
            Ok(found.is_some())
        })?;
        let broker = found.ok_or_else(|| Error::from("Kafka does not say who the coordinator is"))?;
        let kind = if of_group { "group coordinator kill -9" } else { "transaction coordinator kill -9" };
        bounce_broker(stage, broker, kind, true)?;
    }
    Ok(())
}

/// Workers come and go in order, at an even pace.
pub(crate) fn joins(stage: &mut Stage, count: usize, length: Duration) -> Result<()> {
    let began = Instant::now();
    for change in 0..count {
        if stage.over() {
            break;
        }
        let due = length.mul_f64(change as f64 / count.max(1) as f64);
        until(due.saturating_sub(began.elapsed()), || stage.workers.look_at_all().map(|()| false))?;
        let running = stage.workers.running();
        let idle: Vec<usize> = (0..stage.workers.len()).filter(|w| !running.contains(w)).collect();
        // Between two and five of them run.
        if running.len() <= 2 || (running.len() < 5 && stage.random.coin()) {
            stage.fault("join");
            match idle.first() {
                Some(worker) => stage.workers.start(*worker, None)?,
                None => stage.workers.add().map(|_| ())?,
            }
        } else {
            let worker = stage.any_worker().ok_or("no worker runs")?;
            stage.fault("leave");
            stage.workers.stop(worker)?;
        }
    }
    let at = now();
    stage.wait_for_recovery("the last join or leave", at)
}
