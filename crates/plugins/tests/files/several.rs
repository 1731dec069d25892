//! Several files as one source: lists and patterns.

use super::forms::gzip;
use super::{Job, copying};

/// A pattern and a file in a folder of their own, and another one that no pattern names.
fn folder() -> Job {
    let job = Job::new();
    std::fs::create_dir(job.path("logs")).unwrap();
    job.write("logs/b.csv", "id,city\n3,c\n4,d\n");
    job.write("logs/a.csv", "id,city\n1,a\n2,b\n");
    job.write("z.csv", "id,city\n5,e\n");
    job.write("logs/.hidden.csv", "id,city\n90,x\n");
    job.write("logs/a.txt", "id,city\n91,x\n");
    job
}

#[test]
fn a_list_and_a_pattern_are_read_in_order_of_name_and_what_comes_later_behind() {
    let job = folder();
    let chains = copying("csv", "path: [z.csv, './logs/*.csv', logs/b.csv]");
    job.once(&chains);
    assert_eq!(job.copied("id"), ["1", "2", "3", "4", "5"]);
    job.once(&chains);
    // One that comes between, one that grows, one that was read and goes.
    job.write("logs/aa.csv", "id,city\n6,f\n");
    job.append("logs/a.csv", "7,g\n");
    std::fs::remove_file(job.path("logs/b.csv")).unwrap();
    let chains = copying("csv", "path: [z.csv, 'logs/*.csv']");
    job.once(&chains);
    job.once(&chains);
    assert_eq!(job.copied("id"), ["1", "2", "3", "4", "5", "7", "6"]);
    // The same position, whatever the path names.
    job.append("logs/aa.csv", "8,h\n");
    job.once(&copying("csv", "path: 'logs/*.csv'"));
    assert_eq!(job.copied("id").last().unwrap(), "8");
}

#[test]
fn a_file_that_is_named_as_a_pattern_is_the_one_of_that_name() {
    let job = Job::new();
    job.write("a[1].csv", "id\n1\n");
    job.write("a1.csv", "id\n2\n");
    job.once(&copying("csv", "path: 'a[1].csv'"));
    assert_eq!(job.copied("id"), ["1"]);
    std::fs::remove_file(job.path("a[1].csv")).unwrap();
    job.once(&copying("csv", "path: 'a[1].csv'"));
    assert_eq!(job.copied("id"), ["1", "2"]);
}

#[test]
fn each_file_has_its_own_form_and_its_half_line() {
    let job = folder();
    job.write("logs/c.csv.gz", gzip("id,city\n5,e\n6,f\n"));
    job.append("logs/a.csv", "7");
    job.append("logs/b.csv", "\"8");
    let chains = copying("csv", "path: 'logs/*.csv*'");
    let ended = job.once(&chains);
    let said = ended.told.join("\n");
    assert!(said.contains("logs/a.csv:4") && said.contains("logs/b.csv:4"), "{said}");
    let source = ended.source;
    assert_eq!((source.rows_in, source.rows_out, source.in_flight), (8, 6, 2));
    job.append("logs/a.csv", ",g\n");
    job.append("logs/b.csv", "\",h\n");
    job.append("logs/c.csv.gz", gzip("9,i\n"));
    let ended = job.once(&chains);
    assert_eq!((ended.source.rows_out, ended.source.in_flight), (3, 0));
    assert_eq!(job.copied("id"), ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    // What is not whole is a row where that is said, also if it was found before.
    job.append("logs/a.csv", "10,j");
    job.once(&chains);
    job.once(&copying("csv", "path: 'logs/*.csv*', last_line: row"));
    assert_eq!(job.copied("id").last().unwrap(), "10");
}

#[test]
fn objects_by_line_are_read_from_several_files_too() {
    let job = Job::new();
    job.write("b.jsonl", "{\"id\":2}\n");
    job.write("a.jsonl", "{\"id\":1}");
    let chains = copying("jsonl", "path: '*.jsonl', fields: { id: integer }");
    job.once(&chains);
    job.append("a.jsonl", "\n");
    job.once(&chains);
    assert_eq!(job.copied("id"), ["2", "1"]);
}

#[test]
fn files_that_are_not_what_they_were_are_named() {
    let chains = copying("csv", "path: 'logs/*.csv'");
    let job = folder();
    job.once(&chains);
    for (name, content, said) in [
        (
            "logs/a.csv",
            "id,city\n1,a\n",
            "logs/a.csv is shorter than what was read of it: 12 of 16 bytes are there",
        ),
        (
            "logs/a.csv",
            "id,city\n9,a\n2,b\n",
            "logs/a.csv is not the file that was read up to now: it begins otherwise",
        ),
    ] {
        let before = std::fs::read(job.path(name)).unwrap();
        job.write(name, content);
        let refused = job.try_once(&chains).err().unwrap();
        assert!(refused.contains(said), "{refused}");
        job.write(name, before);
    }
    job.once(&chains);
    assert_eq!(job.copied("id"), ["1", "2", "3", "4"]);
}
