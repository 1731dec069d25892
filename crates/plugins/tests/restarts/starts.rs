//! Where a chain begins of which nothing is kept, and where it goes on after.

use std::time::Duration;

use super::{End, Job, counting, rows};

/// Copies topic `in`, by way of a `cast` that can fail.
fn copying(start: &str, cast: &str) -> String {
    format!(
        "  rows:
    - source: kafka
      id: in
      with: {{ topic: in, format: {{ json: {{ fields: {{ id: integer, k: text, n: text }} }} }}, start: {start} }}
    - transform: cast
      with: {{ fields: {{ {cast}: integer }} }}
    - sink: kafka
      with: {{ topic: copy }}
"
    )
}

/// Three hours of rows, the newest of now: 0 to 2 long ago, 3 and 4 in the last hour.
fn job() -> Job {
    let job = Job::new();
    job.write(&rows(0..3, -120));
    job.write(&rows(3..5, -30));
    job
}

const STARTS: [(&str, i64); 8] = [
    ("earliest", 0),
    ("latest", 5),
    ("{ offset: 2 }", 2),
    ("{ offset: 99 }", 5),
    ("{ ago: 1h }", 3),
    ("{ ago: 10m }", 5),
    ("{ ago: 100d }", 0),
    ("{ time: 2999-01-01T00:00:00Z }", 5),
];

#[test]
fn a_chain_begins_where_the_file_says_and_goes_on_where_it_stood() {
    for (start, first) in STARTS {
        let job = job();
        let chains = copying(start, "n");
        job.runs(&chains, End::Once);
        // What was older than an hour is so for the beginning alone, and the end was the end of then.
        job.runtime.block_on(tokio::time::advance(Duration::from_secs(7200)));
        for ids in [5..8, 8..9] {
            job.write(&rows(ids, -120));
            job.runs(&chains, End::Once);
        }
        assert_eq!(job.ids("copy"), (first..9).collect::<Vec<_>>(), "{start}");
    }
}

/// A run that fails before its first commit has begun all the same: what came since is read by the next.
#[test]
fn a_beginning_is_kept_before_the_first_record() {
    for (start, first) in STARTS {
        let job = job();
        let failing = copying(start, "k");
        let fails = job.run(&failing, End::Once);
        assert_eq!(fails.is_err(), first < 5, "{start}: {fails:?}");
        job.runtime.block_on(tokio::time::advance(Duration::from_secs(7200)));
        job.write(&rows(5..7, -120));
        job.runs(&copying(start, "n"), End::Once);
        assert_eq!(job.ids("copy"), (first..7).collect::<Vec<_>>(), "{start}");
    }
}

#[test]
fn a_window_behind_a_beginning_goes_on_too() {
    for (start, counted) in [("{ offset: 2 }", 5), ("latest", 2), ("{ ago: 1h }", 4)] {
        let job = Job::new();
        job.write(&rows(0..3, -120));
        job.write(&rows(3..5, 10));
        let chains = counting("size: 1h").replace("topic: in,", &format!("topic: in, start: {start},"));
        assert!(chains.contains("start:"), "{chains}");
        job.runs(&chains, End::Stopped);
        job.write(&rows(5..7, 10));
        job.runs(&chains, End::Stopped);
        job.runs(&chains, End::Once);
        let all: i64 = job.counts("counts").values().sum();
        assert_eq!(all, counted, "{start}: {:?}", job.counts("counts"));
    }
}

/// Whoever leaves out what is there hears of it, where the chain has written before.
#[test]
fn what_is_begun_anew_or_elsewhere_is_told() {
    let told = |job: &Job, chains: &str, kind: &str| {
        let told = job.runs(chains, End::Once);
        told.into_iter().filter(|notice| notice.starts_with(kind)).collect::<Vec<_>>()
    };
    let job = job();
    job.runs(&copying("earliest", "n"), End::Once);
    let renamed = |name: &str, start: &str| copying(start, "n").replace("  rows:", &format!("  {name}:"));
    let begins = |name: &str, start: &str| told(&job, &renamed(name, start), "BeginsAnew");
    for (name, start, shown) in [("a", "latest", "Latest"), ("b", "{ offset: 1 }", "Offset(1)")] {
        let expected = format!(
            "BeginsAnew {{ chain: \"{name}\", source: \"topic `in`\", before: [], start: {shown}, written: \"copy\" }}"
        );
        assert_eq!(begins(name, start), [expected]);
        assert!(begins(name, start).is_empty(), "it goes on");
    }
    let elsewhere = told(&job, &renamed("c", "{ offset: 99 }"), "StartsElsewhere");
    let partition = "Partition { source: \"in\", index: 0 }";
    let expected = format!("StartsElsewhere {{ chain: \"c\", partition: {partition}, wanted: 99, at: 5 }}");
    assert_eq!(elsewhere, [expected]);
    assert!(told(&job, &renamed("c", "{ offset: 99 }"), "StartsElsewhere").is_empty(), "it goes on");
}
