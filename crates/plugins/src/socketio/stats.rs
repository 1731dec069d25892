//! The message `stats`: the figures of the running pipeline, as `docs/socketio.md` describes them.

use std::sync::atomic::Ordering::Relaxed;

use pipectl_framework::metrics::ChainFigures;
use serde_json::{Value, json};

/// The figures of every chain at this moment.
pub fn stats(figures: &[ChainFigures], uptime_ms: u64, clients: usize, lost: u64, refused: u64) -> Value {
    let chains: Vec<Value> = figures.iter().map(chain).collect();
    json!({
        "uptime_ms": uptime_ms,
        "clients": clients,
        "messages_lost": lost,
        "values_refused": refused,
        "chains": chains,
    })
}

fn chain(figures: &ChainFigures) -> Value {
    let watermark = figures.chain.watermark.load(Relaxed);
    let steps: Vec<Value> = figures
        .steps
        .iter()
        .map(|(id, metrics)| {
            let mut step = json!({ "id": id });
            if let (Value::Object(step), Ok(Value::Object(balance))) =
                (&mut step, serde_json::to_value(metrics.balance()))
            {
                step.extend(balance);
            }
            step
        })
        .collect();
    json!({
        "name": figures.name,
        "commits": figures.chain.commits.load(Relaxed),
        "aborts": figures.chain.aborts.load(Relaxed),
        "retries": figures.chain.retries.load(Relaxed),
        "watermark": (watermark != i64::MIN).then_some(watermark),
        "lag": figures.chain.lag.load(Relaxed),
        "steps": steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipectl_framework::metrics::{ChainMetrics, StepMetrics};
    use std::sync::Arc;

    #[test]
    fn a_chain_shows_its_counters_and_the_balance_of_each_step() {
        let step = Arc::new(StepMetrics::default());
        StepMetrics::add(&step.rows_in, 3);
        StepMetrics::add(&step.rows_out, 3);
        let chain = Arc::new(ChainMetrics::default());
        chain.watermark.store(i64::MIN, Relaxed);
        let figures = [ChainFigures { name: "c".into(), chain, steps: vec![("csv".into(), step)] }];
        assert_eq!(
            stats(&figures, 5, 1, 0, 0),
            json!({
                "uptime_ms": 5, "clients": 1, "messages_lost": 0, "values_refused": 0,
                "chains": [{
                    "name": "c", "commits": 0, "aborts": 0, "retries": 0, "watermark": null, "lag": 0,
                    "steps": [{"id": "csv", "in": 3, "out": 3, "filtered": 0, "late": 0, "dead": 0, "in_flight": 0, "made": 0}],
                }],
            })
        );
    }
}
