//! Whether several workers can share a window: who writes its topic, how it is keyed, and what `explain`
//! promises then.

use pipectl_framework::graph::{ChainPlan, Sharing, explain};

use super::{KAFKA, MEMORY, planned, warnings};

/// A window behind a topic that the file writes (`write`: further settings of its sink) or not. `source` and
/// `step` are further keys of the source's `with:` and of the window's step.
fn chains(write: Option<&str>, source: &str, step: &str, window: &str) -> String {
    let writer = write.map_or(String::new(), |write| {
        format!(
            "  rows:
    - source: csv
      with: {{ path: log.csv, header: true }}
    - sink: kafka
      with: {{ topic: orders{write} }}
"
        )
    });
    format!(
        "{writer}  count:
    - source: kafka
      with: {{ topic: orders, format: {{ json: {{ fields: {{ gender: text, province: text }} }} }}{source} }}
    - window: {window}
{step}    - sink: kafka
      with: {{ topic: counts }}
"
    )
}

/// What came of planning.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Several workers can share it, and nothing is said.
    Fine,
    /// `repartition: false`.
    Alone,
    /// A warning that has this in it.
    Warned(&'static str),
    /// An error.
    Refused(&'static str),
}

fn check(brokers: &str, yaml: &str, expected: &Came) {
    let planned = planned(brokers, yaml, &[]);
    match (expected, &planned) {
        (Came::Refused(part), Err(problems)) => {
            assert!(problems.contains(part), "{yaml}\n{problems}");
            assert!(problems.contains("repartition: true"), "{yaml}\n{problems}");
            return;
        }
        (_, Err(problems)) => panic!("{yaml}\n{problems}"),
        (Came::Refused(part), Ok(_)) => panic!("{yaml}\nnot refused: {part}; {}", warnings(&planned)),
        (_, Ok(_)) => {}
    }
    let (plan, said) = planned.unwrap();
    let chain = plan.chains.iter().find(|chain| chain.name == "count").unwrap();
    let explained = explain(&plan);
    let because = explained.iter().find(|chain| chain.chain == "count").unwrap().because.join("\n");
    let shares = because.contains("As many workers as topic");
    match expected {
        Came::Fine => {
            assert!(!said.contains("count a part"), "{yaml}\n{said}");
            assert_eq!(chain.sharing, Sharing::Partitions, "{yaml}");
            assert!(shares || brokers == MEMORY, "{yaml}\n{because}");
            assert!(!because.contains("one worker"), "{yaml}\n{because}");
        }
        Came::Alone => {
            assert!(!said.contains("count a part"), "{yaml}\n{said}");
            assert!(matches!(chain.sharing, Sharing::Alone { .. }), "{yaml}\n{:?}", chain.sharing);
            assert!(!shares && because.contains("This holds for one worker."), "{yaml}\n{because}");
        }
        Came::Warned(part) => {
            assert!(said.contains(part) && said.contains("repartition: true"), "{yaml}\n{said}");
            assert!(matches!(chain.sharing, Sharing::Unknown { .. }), "{yaml}\n{:?}", chain.sharing);
            assert!(!shares && because.contains("This holds for one worker."), "{yaml}\n{because}");
        }
        Came::Refused(_) => unreachable!(),
    }
}

const BY_GENDER: &str = "count-by-key\n      with: { key: gender, size: 1s }";
const BY_BOTH: &str = "count\n      with: { key: [gender, province], size: 1s }";
const OF_ALL: &str = "count\n      with: { size: 1s }";
const TRUE: &str = "      repartition: true\n";
const FALSE: &str = "      repartition: false\n";

#[test]
fn a_topic_that_the_file_writes() {
    let (keyed, otherwise) = (Some(", key: gender"), Some(", key: province"));
    let one = Some(", key: province, partitions: 1");
    let apart = || Came::Refused("is not keyed by `gender`, which `count.count-by-key` counts by");
    check(KAFKA, &chains(keyed, "", "", BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(keyed, "", "", BY_BOTH), &Came::Fine);
    check(KAFKA, &chains(otherwise, "", "", BY_GENDER), &apart());
    check(KAFKA, &chains(Some(""), "", "", BY_GENDER), &apart());
    check(KAFKA, &chains(one, "", "", BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(otherwise, "", TRUE, BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(otherwise, "", FALSE, BY_GENDER), &Came::Alone);
    check(MEMORY, &chains(otherwise, "", "", BY_GENDER), &Came::Fine);
    // What the connection gives a topic that the file makes.
    let connection = format!("{KAFKA}, partitions: 1");
    check(&connection, &chains(otherwise, "", "", BY_GENDER), &Came::Fine);
    check(&connection, &chains(Some(", key: province, partitions: 2"), "", "", BY_GENDER), &apart());
    check(&connection, &chains(Some(", key: province, create: false"), "", "", BY_GENDER), &apart());
    check(&format!("{KAFKA}, partitions: 2"), &chains(otherwise, "", "", BY_GENDER), &apart());
}

#[test]
fn a_window_without_a_key() {
    let apart = || Came::Refused("`count.count` counts all rows together");
    check(KAFKA, &chains(Some(", key: gender"), "", "", OF_ALL), &apart());
    check(KAFKA, &chains(Some(""), "", "", OF_ALL), &apart());
    check(KAFKA, &chains(Some(", partitions: 1"), "", "", OF_ALL), &Came::Fine);
    check(&format!("{KAFKA}, partitions: 1"), &chains(Some(""), "", "", OF_ALL), &Came::Fine);
    check(KAFKA, &chains(Some(""), "", TRUE, OF_ALL), &Came::Fine);
    check(KAFKA, &chains(Some(""), "", FALSE, OF_ALL), &Came::Alone);
    check(MEMORY, &chains(Some(""), "", "", OF_ALL), &Came::Fine);
    let unknown = || Came::Warned("nobody says how many partitions topic `orders` has");
    check(KAFKA, &chains(None, "", "", OF_ALL), &unknown());
    check(KAFKA, &chains(None, ", keyed_by: gender", "", OF_ALL), &unknown());
    check(KAFKA, &chains(None, "", FALSE, OF_ALL), &Came::Alone);
    let (plan, _) = planned(KAFKA, &chains(None, "", TRUE, OF_ALL), &[]).unwrap();
    let topic = plan.topics.iter().find(|t| t.spec.name == "t.count.count.repartition").unwrap();
    assert_eq!(topic.spec.partitions, Some(1), "all rows come together");
    let two = "      repartition: { partitions: 2 }\n";
    let problems = planned(KAFKA, &chains(None, "", two, OF_ALL), &[]).err().unwrap();
    assert!(problems.contains("a window without a key has one partition"), "{problems}");
}

/// Behind a repartition it is known whose the keys are that `zero_fill` names; elsewhere no worker knows.
#[test]
fn keys_that_zero_fill_names() {
    let window =
        |zeros: &str| format!("count-by-key\n      with: {{ key: gender, size: 1s, zero_fill: {zeros} }}");
    let two = "      repartition: { partitions: 2 }\n";
    let one = "      repartition: { partitions: 1 }\n";
    for (write, repartition, zeros, told) in [
        (Some(", key: gender"), "", "[a, b]", true),
        (Some(", key: gender"), "", "seen", false),
        (Some(", key: gender"), "", "off", false),
        (Some(", key: gender, partitions: 1"), "", "[a, b]", false),
        (None, TRUE, "[a, b]", false),
        (None, two, "[a, b]", false),
        (None, one, "[a, b]", false),
        (None, two, "seen", false),
    ] {
        let yaml = chains(write, "", repartition, &window(zeros));
        let (plan, said) = planned(KAFKA, &yaml, &[]).unwrap();
        let warned = said.contains("names keys in `zero_fill`");
        assert_eq!(warned, told, "{yaml}\n{said}");
        let zeros = |chain: &&ChainPlan| matches!(&chain.sharing, Sharing::Zeros { step } if step == "count.count-by-key");
        let because: String = explain(&plan).iter().flat_map(|chain| chain.because.clone()).collect();
        assert_eq!(plan.chains.iter().find(zeros).is_some(), told, "{yaml}");
        assert_eq!(because.contains("gives zeros for the keys that `zero_fill` names"), told, "{because}");
    }
    let yaml = chains(Some(", key: gender"), "", FALSE, &window("[a, b]"));
    assert_eq!(warnings(&planned(KAFKA, &yaml, &[])), "", "one worker is all there will be");
    let yaml = chains(Some(", key: gender"), "", "", &window("[a, b]"));
    assert_eq!(warnings(&planned(MEMORY, &yaml, &[])), "", "nobody else can read its log");
    let (_, said) = planned(KAFKA, &yaml, &[]).unwrap();
    insta::assert_snapshot!(said);
}

#[test]
fn a_topic_that_another_program_writes() {
    let unknown = || Came::Warned("nobody says how topic `orders` is keyed");
    check(KAFKA, &chains(None, "", "", BY_GENDER), &unknown());
    check(KAFKA, &chains(None, "", FALSE, BY_GENDER), &Came::Alone);
    check(KAFKA, &chains(None, "", TRUE, BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(None, ", keyed_by: gender", "", BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(None, ", keyed_by: [gender]", "", BY_GENDER), &Came::Fine);
    check(KAFKA, &chains(None, ", keyed_by: gender", "", BY_BOTH), &Came::Fine);
    check(KAFKA, &chains(None, ", keyed_by: [province, gender]", "", BY_BOTH), &Came::Fine);
    let refused = |by: &str, window: &str, part: &'static str| {
        check(KAFKA, &chains(None, &format!(", keyed_by: {by}"), "", window), &Came::Refused(part));
    };
    refused(
        "province",
        BY_GENDER,
        "topic `orders` is keyed by `province`, and `count.count-by-key` counts by `gender`",
    );
    refused("[gender, province]", BY_GENDER, "is keyed by `gender`, `province`, and");
    refused("user_id", BY_BOTH, "is keyed by `user_id`, and");
    refused("gendr", BY_GENDER, "did you mean `gender`?");
    refused("[]", BY_GENDER, "topic `orders` has no key, and");
    check(KAFKA, &chains(None, ", keyed_by: province", TRUE, BY_GENDER), &Came::Fine);
    // Who says how it is keyed knows that somebody writes it.
    let said = planned(KAFKA, &chains(None, ", keyed_by: gender", "", BY_GENDER), &[]);
    assert_eq!(warnings(&said), "");
}

/// A column of the records' keys has what a topic is keyed by, whatever that is called; a column of
/// partitions needs no keys at all.
#[test]
fn a_column_of_keys_or_of_partitions() {
    let by = |column: &str| format!("count-by-key\n      with: {{ key: {column}, size: 1s }}");
    let unknown = || Came::Warned("say `keyed_by: k` beside the topic");
    let metadata = ", metadata: { k: key, p: partition, o: offset }";
    let with = |said: &str| format!("{metadata}, keyed_by: {said}");
    for write in [None, Some(""), Some(", key: gender")] {
        check(KAFKA, &chains(write, metadata, "", &by("p")), &Came::Fine);
    }
    check(KAFKA, &chains(None, metadata, "", &by("k")), &unknown());
    check(KAFKA, &chains(None, &with("k"), "", &by("k")), &Came::Fine);
    check(KAFKA, &chains(None, &with("user_id"), "", &by("k")), &Came::Fine);
    let refused = Came::Refused("topic `orders` has no key, and");
    check(KAFKA, &chains(None, &with("[]"), "", &by("k")), &refused);
    check(KAFKA, &chains(Some(", key: gender"), metadata, "", &by("k")), &Came::Fine);
    check(KAFKA, &chains(Some(""), metadata, "", &by("k")), &Came::Refused("is not keyed by `k`"));
    check(
        KAFKA,
        &chains(Some(", key: gender"), metadata, "", &by("o")),
        &Came::Refused("is not keyed by `o`"),
    );
}

/// What a field of the topic is called or made into on the way to the window.
#[test]
fn a_field_that_comes_under_another_name_or_is_made_on_the_way() {
    let behind = |write: Option<&str>, source: &str, steps: &str, key: &str| {
        let steps = format!("{steps}    - window");
        let chains = chains(write, source, "", BY_GENDER).replace("    - window", &steps);
        chains.replace("key: gender, size", &format!("key: {key}, size"))
    };
    let select = |what: &str| format!("    - transform: select\n      with: {{ {what} }}\n");
    let place = select("fields: [province], rename: { province: place }");
    let gender = select("fields: [province], rename: { province: gender }");
    let cast = "    - transform: cast\n      with: { fields: { gender: integer } }\n";
    let (by_province, by_gender) = (Some(", key: province"), Some(", key: gender"));
    let made = || Came::Warned("it cannot be told whether topic `orders` is keyed");

    check(KAFKA, &behind(by_province, "", &place, "place"), &Came::Fine);
    let refused = Came::Refused("is not keyed by `place`, which `count.count-by-key` counts by");
    check(KAFKA, &behind(by_gender, "", &place, "place"), &refused);
    check(
        KAFKA,
        &behind(None, "", &place, "place"),
        &Came::Warned("nobody says how topic `orders` is keyed"),
    );
    check(KAFKA, &behind(None, ", keyed_by: province", &place, "place"), &Came::Fine);
    let filter = "    - transform: filter\n      with: { field: gender, in: ['0'] }\n";
    check(KAFKA, &behind(by_gender, "", filter, "gender"), &Came::Fine);

    // Another field takes the name of the one that the topic is keyed by.
    check(
        KAFKA,
        &behind(by_gender, "", &gender, "gender"),
        &Came::Refused("is not keyed by `gender`, which"),
    );
    check(KAFKA, &behind(by_province, "", &gender, "gender"), &Came::Fine);
    let said = Came::Refused("topic `orders` is keyed by `gender`, and");
    check(KAFKA, &behind(None, ", keyed_by: gender", &gender, "gender"), &said);

    // `1` and `01` are one integer, and two keys.
    check(KAFKA, &behind(by_gender, "", cast, "gender"), &made());
    check(KAFKA, &behind(None, ", keyed_by: gender", cast, "gender"), &made());
    check(KAFKA, &behind(by_gender, "", cast, "province"), &Came::Refused("is not keyed by `province`"));
    let kept = by_gender.map(|by| behind(Some(by), "", cast, "[gender, province]"));
    check(KAFKA, &kept.unwrap(), &made());

    // A column of that name is not the writer's field: another place in the record, or its key.
    let nested = behind(by_gender, "", "", "gender")
        .replace("gender: text", "gender: { type: text, path: '$.province' }");
    check(KAFKA, &nested, &Came::Refused("is not keyed by `gender`"));
    let header = behind(by_gender, ", metadata: { gender: { header: g } }", "", "gender");
    check(
        KAFKA,
        &header.replace("fields: { gender: text, ", "fields: { "),
        &Came::Refused("is not keyed by"),
    );
    let key = behind(by_gender, ", metadata: { gender: key }", "", "gender");
    check(KAFKA, &key.replace("fields: { gender: text, ", "fields: { "), &Came::Fine);
}

#[test]
fn a_page_reads_every_partition_in_every_copy() {
    let page = "  count:
    - source: kafka
      with: { topic: orders, format: { json: { fields: { gender: text } } } }
    - window: count-by-key
      with: { key: gender, size: 1s }
    - sink: socketio
      with: { listen: '127.0.0.1:0', page: ../../../../dashboards/gender }
";
    let said = planned(KAFKA, page, &[]);
    assert!(!warnings(&said).contains("count a part"), "{}", warnings(&said));
}
