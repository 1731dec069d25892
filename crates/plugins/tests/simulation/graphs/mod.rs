//! Random pipelines: any tree of transforms, windows, copies and branches, run again and again over inputs
//! that grow, by the file as it was written the first time or with its paths spelt otherwise. At the end
//! everything that came out is held against what the file says of the input.
//!
//! | file | what is in it |
//! |---|---|
//! | `make` | the pipeline file, the inputs and the runs that a seed makes |
//! | `input` | rows |
//! | `play` | the runs, one after another |
//! | `file` | a pipeline file as the oracle reads it |
//! | `oracle`, `windows`, `results`, `zeros`, `room` | what must come out |
//! | `cases` | shapes in which rows were lost or doubled |

mod cases;
mod file;
mod input;
mod make;
mod oracle;
mod play;
mod results;
mod room;
mod windows;
mod zeros;

use crate::told;
use crate::trial::{Report, caught, runtime};
use pipectl_framework::testing::simulation::Random;
use pipectl_framework::testing::simulation::World;

/// Runs a seed.
fn run(seed: u64, print: bool) -> Report {
    caught(|| {
        let mut random = Random::new(seed ^ 0x0006_0a9b);
        let play = make::make(&mut random);
        report(&play, seed, random, print)
    })
}

/// The same file over the same rows, all of them there from the start, and nothing disturbs its only run.
fn run_once(seed: u64, print: bool) -> Report {
    caught(|| {
        let mut random = Random::new(seed ^ 0x0006_0a9b);
        let play = make::make(&mut random).at_once();
        report(&play, seed, random, print)
    })
}

/// The same runs, with a file that is edited between them.
fn run_edited(seed: u64, print: bool) -> Report {
    caught(|| {
        let mut random = Random::new(seed ^ 0x0006_0a9b);
        let play = make::make(&mut random).edited(&mut random);
        report(&play, seed, random, print)
    })
}

/// Plays something.
fn report(play: &play::Play, seed: u64, mut random: Random, print: bool) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let world = World::new(seed, told(print));
        if print {
            println!("{}\n{}", play.show(), play.rows());
        }
        play::play(&world, play, &mut random, folder.path()).await;
        let hash = world.hash();
        let (figures, violations) = (world.take_figures(), world.take_violations());
        Report { figures, violations, hash, shown: play.show() }
    })
}

/// Seeds of a run that asks for no number.
const FEW: u64 = 100;

#[test]
fn seeds() {
    crate::many("graphs::seeds", FEW, run);
}

#[test]
fn once() {
    crate::many("graphs::once", FEW, run_once);
}

#[test]
fn edited() {
    crate::many("graphs::edited", FEW, run_edited);
}

#[test]
fn a_seed_has_one_outcome() {
    for seed in 0..10 {
        let (one, other) = (run(seed, false), run(seed, false));
        assert_eq!(one.hash, other.hash, "seed {seed} went two ways");
    }
}
