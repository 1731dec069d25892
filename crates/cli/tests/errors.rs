//! Every message that a file can earn, as the program says it: `pipectl check` on each file of
//! `tests/errors`, kept by a snapshot.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::process::Command;

fn check(file: &str, arguments: &[&str]) -> (String, Option<i32>) {
    check_in("tests/errors", file, arguments)
}

fn check_in(folder: &str, file: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .arg("check")
        .arg(file)
        .args(arguments)
        .env_remove("NO_SUCH_VARIABLE")
        .output()
        .unwrap();
    let valid = output.status.success();
    assert!(valid || output.stdout.is_empty(), "standard output carries only what was asked for");
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[test]
fn every_broken_file_is_refused_with_its_place_and_a_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "the folder of broken files is not complete");
    for file in files {
        let (said, code) = check(&file, &[]);
        assert_eq!(code, Some(3), "{file} was not refused:\n{said}");
        assert!(said.contains(&format!("--> {file}:")), "{file}: no place in:\n{said}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(file.trim_end_matches(".yaml"), said);
        });
    }
}

#[test]
fn a_valid_file_that_is_hardly_meant_is_warned_of() {
    for file in ["exactly-once-in-memory", "topic-in-two-formats"] {
        let (said, code) = check_in("tests/warnings", &format!("{file}.yaml"), &[]);
        assert_eq!(code, Some(0), "{said}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("warning-{file}"), said);
        });
    }
}

#[test]
fn a_topic_of_one_partition_may_be_keyed_by_anything() {
    let one = "pipelines.orders.kafka.with.partitions=1";
    let (said, code) = check("topic-keyed-otherwise.yaml", &["--set", one]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let (said, code) = check("/dev/zero", &[]);
    assert_eq!(code, Some(3));
    assert!(said.contains("the file is larger than 1048576 bytes"), "{said}");
}

#[test]
fn arguments_have_places_too() {
    let (said, code) =
        check("misspelt-field.yaml", &["--set", "pipelines.shoppers.selct.with.fields=[gender]"]);
    assert_eq!(code, Some(3));
    insta::assert_snapshot!("argument-set", said);
    let (said, code) = check("misspelt-field.yaml", &["--only", "shopers"]);
    assert_eq!(code, Some(3));
    insta::assert_snapshot!("argument-only", said);
    let (said, code) = check("no-such-file.yaml", &[]);
    assert_eq!(code, Some(3));
    insta::assert_snapshot!("no-such-file", said);
}

#[test]
fn the_remedy_of_a_set_argument_works() {
    let (said, code) =
        check("misspelt-field.yaml", &["--set", "pipelines.shoppers.select.with.fields=[gender]"]);
    assert_eq!(code, Some(0), "{said}");
}
