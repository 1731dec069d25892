//! A law: whatever happens to the file, opening it gives what was last committed, or an error that says what
//! to do.
#![allow(clippy::print_stderr, reason = "it says what came of each kind of damage")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use pipectl_framework::error::{Consequence, Result};
use pipectl_framework::log::Position;
use pipectl_framework::log::memory::journal::{Change, Journal, KeptBatch, KeptTopic, Spot};
use pipectl_framework::plugin::Partition;

use super::super::journal::DiskJournal;
use super::super::mark::Mark;
use super::simulated::{Disk, Random};

const PAGE: usize = 4096;
const HEADER: usize = 320;

/// What is kept, by its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    topics: BTreeMap<String, KeptTopic>,
    batches: BTreeMap<Spot, Vec<u8>>,
    ends: BTreeMap<(String, i32), i64>,
    positions: BTreeMap<(String, String, i32), Position>,
}

impl Kept {
    fn add(&mut self, change: &Change) {
        self.topics.extend(change.topics.iter().map(|topic| (topic.name.clone(), topic.clone())));
        for batch in &change.batches {
            self.batches.insert((batch.topic.clone(), batch.partition, batch.first), batch.bytes.clone());
        }
        for dropped in &change.dropped {
            self.batches.remove(dropped);
        }
        for (topic, partition, end) in &change.ends {
            self.ends.insert((topic.clone(), *partition), *end);
        }
        for (group, position) in &change.positions {
            let of = &position.partition;
            self.positions.insert((group.clone(), of.source.to_string(), of.index), position.clone());
        }
    }

    fn of(change: &Change) -> Self {
        let mut kept = Self::default();
        kept.add(change);
        kept
    }
}

/// A commit such as a chain makes.
fn any_change(random: &mut Random, kept: &Kept) -> Change {
    let topic = ["in", "out", "late"][random.below(3)].to_owned();
    let partition = random.below(3) as i32;
    let first = kept.ends.get(&(topic.clone(), partition)).copied().unwrap_or(0);
    let mut change = Change::default();
    if !kept.topics.contains_key(&topic) {
        let compacted = random.below(2) == 0;
        change.topics.push(KeptTopic { name: topic.clone(), partitions: 3, compacted });
    }
    let length = if random.below(20) == 0 { 60_000 } else { random.below(3_000) };
    let bytes = random.bytes(length);
    change.batches.push(KeptBatch { topic: topic.clone(), partition, first, bytes });
    change.ends.push((topic.clone(), partition, first + 1 + random.below(50) as i64));
    let metadata = "v1;".repeat(random.below(9));
    let position = Position { partition: Partition::new(topic.as_str(), partition), offset: first, metadata };
    change.positions.push((format!("group-{}", random.below(2)), position));
    let old: Vec<&Spot> = kept.batches.keys().collect();
    if old.len() > 20 {
        change.dropped = (0..3).map(|_| old[random.below(old.len())].clone()).collect();
    }
    change
}

fn open(disk: &Disk, directory: &Path) -> Result<DiskJournal> {
    DiskJournal::open(directory, "the log", disk.open())
}

/// Commits until the disk fails, `most` times at most; gives what is kept then, and what is kept if the last
/// commit happened.
fn commits(journal: &mut DiskJournal, random: &mut Random, kept: &mut Kept, most: usize) -> Kept {
    for _ in 0..most {
        let change = any_change(random, kept);
        let mut next = kept.clone();
        next.add(&change);
        if journal.commit(&change).is_err() {
            return next;
        }
        *kept = next;
    }
    kept.clone()
}

/// Opens it; it holds what was acknowledged, or that and the commit under way.
fn holds(disk: &Disk, directory: &Path, kept: &mut Kept, under_way: &Kept, what: &str) -> DiskJournal {
    let mut journal = open(disk, directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = Kept::of(&journal.load().unwrap());
    assert!(found == *kept || found == *under_way, "{what}: other rows than were committed");
    *kept = found;
    journal
}

/// A log that has been through some crashes, and what is in it.
fn a_life(random: &mut Random, disk: &Disk, directory: &Path, what: &str) -> (Kept, Kept) {
    let (mut kept, mut under_way) = (Kept::default(), Kept::default());
    for _ in 0..=random.below(3) {
        let mut journal = holds(disk, directory, &mut kept, &under_way, what);
        let dies = random.below(3) > 0;
        if dies {
            let mut contents = disk.lock();
            contents.fails = Some((contents.steps + 1 + random.below(150) as u64, ErrorKind::Other, true));
        }
        let most = 1 + random.below(25);
        under_way = commits(&mut journal, random, &mut kept, most);
        drop(journal);
        let noted = std::fs::read(directory.join(Mark::FILE)).unwrap();
        if dies && random.below(2) == 0 {
            disk.power_cut(random);
            // The mark was not synced either.
            if random.below(2) == 0 && noted.len() == 16 {
                let older = u64::from_le_bytes(noted[..8].try_into().unwrap()) / 2;
                let bytes = [older.to_le_bytes(), (!older).to_le_bytes()].concat();
                std::fs::write(directory.join(Mark::FILE), bytes).unwrap();
            }
            // Damage on top of that, before anybody has opened the log, cannot be told from it.
            drop(holds(disk, directory, &mut kept, &under_way, what));
        }
        disk.killed();
    }
    (kept, under_way)
}

/// Damages a file in one of the ways that files are damaged.
fn damage(random: &mut Random, image: &mut Vec<u8>) -> &'static str {
    let pages = image.len() / PAGE;
    let page = random.below(pages) * PAGE;
    match random.below(9) {
        0 => {
            image.truncate(random.below(image.len()));
            "truncated"
        }
        1 => {
            image.truncate(page);
            "truncated at a page"
        }
        2 => {
            let more = 1 + random.below(3 * PAGE);
            image.extend(random.bytes(more));
            "longer"
        }
        3 => {
            let from = image.len() - 1 - random.below(200);
            image[from..].iter_mut().for_each(|byte| *byte ^= 0x55);
            "the tail flipped"
        }
        4 => {
            let at = random.below(HEADER);
            image[at] ^= 1 << random.below(8);
            "a bit of the header"
        }
        5 => {
            for _ in 0..=random.below(20) {
                let at = random.below(image.len());
                image[at] ^= 1 << random.below(8);
            }
            "some bits"
        }
        6 => {
            image[page..page + PAGE].fill(0);
            "a page of zeros"
        }
        7 => {
            let other = random.below(pages) * PAGE;
            let copy = image[other..other + PAGE].to_vec();
            image[page..page + PAGE].copy_from_slice(&copy);
            "a page in the place of another"
        }
        _ => {
            let bytes = random.bytes(PAGE);
            image[page..page + PAGE].copy_from_slice(&bytes);
            "a page of noise"
        }
    }
}

#[test]
fn a_damaged_file_gives_the_last_commit_or_an_error_that_says_what_to_do() {
    let seeds: u64 = std::env::var("PIPECTL_DISK_SEEDS").map_or(150, |seeds| seeds.parse().unwrap());
    let mut outcomes: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for seed in 0..seeds {
        let (mut random, disk) = (Random(seed), Disk::default());
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let what = format!("seed {seed}");
        let (mut kept, under_way) = a_life(&mut random, &disk, place, &what);
        let kind = damage(&mut random, &mut disk.lock().image);
        disk.killed();
        let what = format!("{what}, {kind}");
        let outcome = match open(&disk, place).and_then(|mut journal| journal.load()) {
            Err(error) => {
                assert_eq!(error.consequence(), Consequence::Fatal, "{what}: {error}");
                assert!(error.help().is_some(), "{what}: {error}");
                let said = error.to_string();
                if said.contains("the store cannot read it") { "a panic, caught" } else { "an error" }
            }
            Ok(found) => {
                let found = Kept::of(&found);
                assert!(found == kept || found == under_way, "{what}: other rows than were committed");
                // It goes on from there.
                kept = found;
                let mut journal = open(&disk, place).unwrap();
                let under_way = commits(&mut journal, &mut random, &mut kept, 5);
                drop(journal);
                drop(holds(&disk, place, &mut kept, &under_way, &what));
                "all that was committed"
            }
        };
        *outcomes.entry((kind, outcome.to_owned())).or_default() += 1;
    }
    for ((kind, outcome), count) in &outcomes {
        eprintln!("{kind}: {count} x {outcome}");
    }
    let count = |of: &str| outcomes.iter().filter(|((_, o), _)| o == of).map(|(_, n)| n).sum::<u32>();
    assert!(count("an error") > 0 && count("all that was committed") > 0, "both happen");
}

#[test]
fn a_mark_that_cannot_be_read_is_no_bound() {
    let (mut random, disk, directory) = (Random(1), Disk::default(), tempfile::tempdir().unwrap());
    let mut kept = Kept::default();
    let mut journal = open(&disk, directory.path()).unwrap();
    commits(&mut journal, &mut random, &mut kept, 5);
    drop(journal);
    for bytes in [&b""[..], b"short", &[7; 16], &[0; 16]] {
        std::fs::write(directory.path().join(Mark::FILE), bytes).unwrap();
        let under_way = kept.clone();
        drop(holds(&disk, directory.path(), &mut kept, &under_way, "a strange mark"));
    }
}

#[test]
fn a_log_that_went_back_is_told() {
    let (mut random, disk, directory) = (Random(2), Disk::default(), tempfile::tempdir().unwrap());
    let mut kept = Kept::default();
    let mut journal = open(&disk, directory.path()).unwrap();
    commits(&mut journal, &mut random, &mut kept, 5);
    let older = disk.lock().image.clone();
    commits(&mut journal, &mut random, &mut kept, 2);
    drop(journal);
    disk.lock().image = older;
    disk.killed();
    let error = open(&disk, directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the log in the log is damaged: it has 5 of at least 7 commits, the last ones are lost"
    );
}
