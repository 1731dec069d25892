//! Files that are compressed, and files that are not UTF-8.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Job, copying};

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn rows(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("{id},\u{5317}\u{4eac}\n")).collect()
}

fn ids(ids: std::ops::Range<u32>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

/// Compresses a text.
type Pack = fn(&str) -> Vec<u8>;

/// The forms of compression, each with its name and the end of a file's.
const PACKED: [(&str, &str, Pack); 2] = [("gzip", "gz", gzip), ("zstd", "zst", zstd)];

#[test]
fn a_compressed_file_is_read_with_all_its_members_and_goes_on_where_it_was() {
    for (_, end, pack) in PACKED {
        let (job, file) = (Job::new(), format!("rows.csv.{end}"));
        let chains = copying("csv", &format!("path: {file}"));
        job.write(&file, pack(&format!("id,city\n{}", rows(0..40_000))));
        job.once(&chains);
        job.once(&chains);
        // A member of its own, as `gzip -c >> FILE` adds one; it begins in the middle of a row.
        job.append(&file, pack("40000,\u{4e0a}"));
        let held = job.once(&chains);
        assert_eq!(held.source.in_flight, 1, "{:?}", held.told);
        job.append(&file, pack(&format!("\u{6d77}\n{}", rows(40_001..40_010))));
        job.once(&chains);
        assert!(job.copied("id") == ids(0..40_010), "{end}");
        assert_eq!(job.copied("city")[40_000], "\u{4e0a}\u{6d77}");
    }
}

#[test]
fn a_compressed_file_that_is_not_what_it_was_or_cannot_be_read_is_named() {
    let whole = format!("id,city\n{}", rows(0..40_000));
    for (name, end, pack) in PACKED {
        let (job, file) = (Job::new(), format!("rows.csv.{end}"));
        let chains = copying("csv", &format!("path: {file}"));
        job.write(&file, pack(&whole));
        job.once(&chains);
        let cannot = format!("{file} cannot be read as {name} behind byte");
        for (bytes, said) in [
            (
                pack(&whole[..100_000]),
                format!("{file} is shorter than what was read of it: its content has 100000 of"),
            ),
            (
                pack(&whole.replace("0,", "00,")),
                format!("{file} is not the file that was read up to now: it begins otherwise"),
            ),
            (pack(&whole)[..pack(&whole).len() / 2].to_vec(), cannot.clone()),
        ] {
            job.write(&file, bytes);
            let refused = job.try_once(&chains).err().unwrap();
            assert!(refused.contains(&said), "{refused}");
            assert_eq!(job.copied("id").len(), 40_000);
        }
        let job = Job::new();
        job.write(&file, [pack(&whole), b"no more".to_vec()].concat());
        let refused = job.try_once(&chains).err().unwrap();
        assert!(refused.contains(&cannot), "{refused}");
    }
    // As it stands on the disk.
    let job = Job::new();
    job.write("rows.csv.gz", "id\n1\n");
    job.once(&copying("csv", "path: rows.csv.gz"));
    assert_eq!(job.copied("id"), ["1"]);
}

#[test]
fn a_frame_of_zstd_that_is_to_be_passed_over_is_no_content() {
    let job = Job::new();
    job.write("rows.csv", [b"\x50\x2A\x4D\x18\x04\0\0\0note".to_vec(), zstd("id\n1\n")].concat());
    job.once(&copying("csv", "path: rows.csv"));
    assert_eq!(job.copied("id"), ["1"]);
}

#[test]
fn a_file_of_another_encoding_is_read_and_what_is_no_character_is_rejected_with_its_bytes() {
    let text = format!("id,\u{57ce}\u{5e02}\n{}", rows(0..20_000));
    let (gbk, ..) = encoding_rs::GBK.encode(&text);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (encoding, bytes) in [("gbk", gbk.to_vec()), ("utf-16le", wide), ("utf-8", text.clone().into_bytes())]
    {
        let job = Job::new();
        let chains = copying("csv", &format!("path: rows.csv, encoding: {encoding}"));
        let end = bytes.len() / 3;
        job.write("rows.csv", &bytes[..end]);
        job.once(&chains);
        job.append("rows.csv", &bytes[end..]);
        job.once(&chains);
        assert!(job.copied("id") == ids(0..20_000), "{encoding}");
        assert!(job.copied("\u{57ce}\u{5e02}").iter().all(|city| city == "\u{5317}\u{4eac}"));
    }
    let job = Job::new();
    job.write("rows.csv", b"id,city\n1,\x81\n2,a\n");
    let chains = "  rows:
    - source: csv
      on_error: dead_letter
      with: { path: rows.csv, encoding: gbk }
    - sink: kafka
      with: { topic: rest, partitions: 1 }
  dead:
    - from: rows.csv.dead
    - sink: kafka
      with: { topic: copy, partitions: 1 }
";
    job.once(chains);
    assert_eq!(job.copied("reason"), ["column `city` is not GBK"]);
    assert_eq!(job.copied("record"), ["1,\\xff\\x81"]);
}
