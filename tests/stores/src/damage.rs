//! What comes out of a store whose file was damaged after a clean end: what was committed, an error, or
//! something else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::store::{Kept, Open, Random, STORES, change, files};

pub fn run(directory: &Path, seeds: u64) {
    std::panic::set_hook(Box::new(|_| {}));
    for (name, open) in STORES {
        let mut outcomes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for seed in 0..seeds {
            let place = directory.join(format!("{name}-{seed}"));
            *outcomes.entry(one(&place, open, seed)).or_default() += 1;
            let _ = std::fs::remove_dir_all(&place);
        }
        println!("{name}: {seeds} damaged stores");
        for ((outcome, kind), count) in outcomes {
            println!("  {outcome:<32} {kind:<16} {count:>4}");
        }
    }
}

fn one(place: &Path, open: Open, seed: u64) -> (&'static str, &'static str) {
    let _ = std::fs::remove_dir_all(place);
    let mut random = Random(seed);
    let (mut kept, mut earlier) = (Kept::new(), Vec::new());
    let mut store = open(place).expect("the store opens");
    for n in 0..20 + random.below(200) as u64 {
        let change = change(&mut random, n, 4, 1_000);
        earlier.push(hash(&kept));
        for key in &change.dropped {
            kept.remove(key);
        }
        kept.extend(change.put.iter().cloned());
        store.commit(&change).expect("the store commits");
    }
    drop(store);
    let kind = damage(place, &mut random);
    let found = catch_unwind(AssertUnwindSafe(|| open(place).and_then(|store| store.load())));
    let outcome = match found {
        Err(_) => "a panic",
        Ok(Err(_)) => "an error",
        Ok(Ok(found)) if found == kept => "all that was committed",
        Ok(Ok(found)) if earlier.contains(&hash(&found)) => "the last commits LOST, no error",
        Ok(Ok(_)) => "OTHER entries, no error",
    };
    (outcome, kind)
}

fn hash(kept: &Kept) -> u64 {
    let mut hasher = DefaultHasher::new();
    kept.hash(&mut hasher);
    hasher.finish()
}

/// Damages one of the files somewhere in what is written of it (fjall makes its journals longer ahead of
/// time), the larger the likelier.
fn damage(place: &Path, random: &mut Random) -> &'static str {
    let files: Vec<(PathBuf, Vec<u8>, usize)> = files(place)
        .into_iter()
        .map(|(path, _)| {
            let bytes = std::fs::read(&path).expect("the file is read");
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            (path, bytes, used)
        })
        .collect();
    let mut at = random.below(files.iter().map(|(.., used)| used).sum());
    let (path, mut bytes, _) = files
        .into_iter()
        .find(|(.., used)| {
            let here = at < *used;
            if !here {
                at -= used;
            }
            here
        })
        .expect("some file has that byte");
    let kind = match random.below(3) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "a bit flipped"
        }
        1 => {
            bytes.truncate(at);
            "cut short"
        }
        _ => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
            "a page of zeros"
        }
    };
    std::fs::write(path, bytes).expect("the file is written");
    kind
}
