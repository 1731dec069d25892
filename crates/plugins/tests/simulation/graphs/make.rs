//! What a seed makes: a pipeline file of any shape, its inputs, and how they grow from run to run.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::input::{self, BITS, FIELDS, Manner, Record};
use super::play::{Edit, How, Phase, Play};
use pipectl_framework::testing::simulation::Random;

/// Rows behind a step, as far as the next step depends on them.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says what may stand behind, by itself")]
struct Rows {
    /// The columns and their types.
    columns: BTreeMap<String, &'static str>,
    /// The column by which the topic of the source is keyed; `None` in a file, which one worker reads.
    by: Option<String>,
    /// Of the topic of the source.
    partitions: u32,
    /// True where a window may stand behind.
    windows: bool,
    /// True where its rows are dead letters.
    dead: bool,
    /// True where the chain reads a topic and is not cut yet.
    cuts: bool,
    /// True where a crash may write them again: `delivery: at_least_once`.
    loose: bool,
    /// True where some are too large for a topic, as long as they have the column `p`.
    large: bool,
    /// The chain of the source: chains behind it are of one tree.
    tree: usize,
}

/// An output that chains may begin with.
#[derive(Debug, Clone)]
struct Open {
    references: Vec<String>,
    rows: Rows,
    /// Somebody must read it.
    must: bool,
    /// Nothing else may come with it.
    alone: bool,
}

pub(super) struct Maker<'a> {
    random: &'a mut Random,
    yaml: String,
    next: usize,
    /// Steps that may still be made.
    budget: i64,
    open: Vec<Open>,
    /// Topics that a chain may read: name, partitions, key, columns.
    written: Vec<(String, Rows)>,
    out_of_orderness: i64,
    idle: u64,
}

/// Makes what a seed plays.
pub(crate) fn make(random: &mut Random) -> Play {
    let disk = random.chance(200);
    let behind = random.pick(&[0, 0, 300, 1500]);
    let punctual = random.chance(500);
    let mut maker = Maker {
        yaml: String::new(),
        next: 0,
        budget: random.between(4, 16) as i64,
        open: Vec::new(),
        written: Vec::new(),
        out_of_orderness: if punctual { behind } else { random.pick(&[0, 200]) },
        idle: if random.chance(700) { 600_000 } else { 1000 },
        random,
    };
    let brokers = if disk { "embedded:log" } else { "127.0.0.1:1" };
    let _ =
        write!(maker.yaml, "name: sim\nconnections: {{ kafka: {{ brokers: '{brokers}' }} }}\npipelines:\n");
    let phases = maker.random.between(2, 5) as usize;
    let mut play = Play {
        yaml: String::new(),
        topics: Vec::new(),
        files: Vec::new(),
        phases: Vec::new(),
        replay: maker.random.pick(&[
            None,
            None,
            Some((5, 60_000)),
            Some((30, 60_000)),
            Some((1_000_000, 500)),
        ]),
        stretch: if disk { 1 } else { maker.random.between(1, 4) as i64 },
    };
    let inputs = maker.random.between(1, 3) as usize;
    let each = input::MOST / inputs;
    for number in 0..inputs {
        // Nobody else can write to a log on disk.
        let file = disk || maker.random.chance(450);
        let count = maker.random.between(10, each as u64 + 1) as usize;
        // A partition that is idle may turn such a row late, and a letter of one is as large.
        let large = file && maker.idle > 60_000 && play.replay.is_none() && maker.random.chance(300);
        let manner = Manner { behind, step: maker.random.pick(&[20, 100, 400]), file, large };
        let rows = input::rows(maker.random, number * each, count, manner);
        let portions = maker.cut(rows, phases + 1);
        if file {
            let name = format!("rows{number}.csv");
            maker.file(&name, large);
            play.files.push((name, portions));
        } else {
            let (name, partitions) = (format!("in{number}"), maker.random.pick(&[1, 1, 2, 3]));
            let columns = FIELDS.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
            let rows = Rows {
                columns,
                by: Some("k".to_owned()),
                partitions,
                windows: true,
                dead: false,
                cuts: true,
                loose: false,
                large: false,
                tree: 0,
            };
            for _ in 0..maker.random.pick(&[1, 1, 2]) {
                maker.topic(&name, &rows);
            }
            play.topics.push((name, partitions, portions));
        }
    }
    maker.rest();
    play.yaml = std::mem::take(&mut maker.yaml);
    for _ in 0..phases {
        let phase = maker.phase(!disk);
        play.phases.push(phase);
    }
    play
}

impl Maker<'_> {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Cuts rows into so many portions; some are empty.
    fn cut(&mut self, rows: Vec<Record>, portions: usize) -> Vec<Vec<Record>> {
        let mut cuts: Vec<usize> =
            (1..portions).map(|_| self.random.between(0, rows.len() as u64 + 1) as usize).collect();
        cuts.sort_unstable();
        cuts.push(rows.len());
        let mut from = 0;
        cuts.into_iter()
            .map(|to| {
                let portion = rows[from..to].to_vec();
                from = to;
                portion
            })
            .collect()
    }

    fn phase(&mut self, shared: bool) -> Phase {
        let faults = self.random.chance(400);
        let workers = if shared { self.random.between(1, 4) as usize } else { 1 };
        let length = self.random.between(300, 9000);
        let how = match self.random.between(0, 10) {
            0..=4 => How::Once,
            5..=7 => How::Stopped { workers, length },
            _ => How::Killed { workers, length },
        };
        Phase { how, faults, spelling: self.random.pick(&[0, 0, 0, 1, 2]), edit: Edit::None }
    }

    /// A chain over a file.
    fn file(&mut self, path: &str, large: bool) {
        let rate = self.random.pick(&["", "", ", rate: 30/s", ", rate: 200/s"]);
        let head = format!(
            "    - source: csv\n      id: s\n      on_error: {{}}\n      time: {{ field: t, format: epoch_ms }}\n      with: {{ path: {path}{rate} }}\n"
        );
        let columns = FIELDS.iter().map(|(name, _)| ((*name).to_owned(), "text")).collect();
        let rows = Rows {
            columns,
            by: None,
            partitions: 1,
            windows: true,
            dead: false,
            cuts: false,
            loose: false,
            large,
            tree: 0,
        };
        self.source(&head, rows);
    }

    /// A chain over a topic.
    fn topic(&mut self, topic: &str, rows: &Rows) {
        let fields: Vec<String> = rows.columns.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        let head = format!(
            "    - source: kafka\n      id: s\n      on_error: {{}}\n      with: {{ topic: {topic}, format: {{ json: {{ fields: {{ {} }} }} }} }}\n",
            fields.join(", ")
        );
        self.source(&head, rows.clone());
    }

    fn source(&mut self, head: &str, rows: Rows) {
        let number = self.number();
        let name = format!("c{number}");
        let loose = self.random.chance(70);
        // Rows that may be in a topic twice may count twice behind it.
        let cuts = rows.cuts && !loose;
        let rows = Rows { tree: number, loose, cuts, ..rows };
        let on_error = self.on_error(&name, "s", &rows);
        let delivery = if loose { "\n      delivery: at_least_once" } else { "" };
        let head = head.replace("{}", &format!("{on_error}{delivery}"));
        let _ = write!(self.yaml, "  {name}:\n{head}");
        self.steps(&name, "s", rows);
    }

    /// What becomes of records that a step cannot use.
    fn on_error(&mut self, chain: &str, step: &str, rows: &Rows) -> &'static str {
        if self.random.chance(350) {
            return "skip";
        }
        self.letters(chain, step, rows, false);
        "dead_letter"
    }

    /// The dead letters of a step; `alone`: no others come with them.
    fn letters(&mut self, chain: &str, step: &str, rows: &Rows, alone: bool) {
        let columns = [
            ("source", "text"),
            ("partition", "integer"),
            ("offset", "integer"),
            ("place", "text"),
            ("reason", "text"),
            ("record", "text"),
            ("escaped", "boolean"),
        ];
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        // Letters that may be there twice do not say what a window has counted. What a file's source cannot
        // read has the time of reading (docs/windows.md): a run that reads it again counts it at another
        // time.
        let has_a_time = rows.by.is_some() || step != "s";
        let windows = rows.windows && !rows.loose && has_a_time;
        let rows = Rows { columns, dead: true, cuts: false, windows, ..rows.clone() };
        self.open.push(Open { references: vec![format!("{chain}.{step}.dead")], rows, must: true, alone });
    }

    /// Steps of a chain behind its first, down to its sinks.
    fn steps(&mut self, chain: &str, first: &str, mut rows: Rows) {
        if first != "from" {
            self.branch(chain, first, &rows);
        }
        // A file's cells are texts.
        if rows.columns.get("a") == Some(&"text") && self.random.chance(850) {
            let at = self.cast(chain, &["id", "a", "b", "c", "d", "t"], &mut rows);
            self.branch(chain, &at, &rows);
        }
        while self.random.chance(450) && !rows.dead {
            if let Some(id) = self.transform(chain, &mut rows) {
                self.branch(chain, &id, &rows);
            }
        }
        if rows.windows && self.random.chance(650) {
            self.window(chain, &mut rows);
        } else if self.random.chance(100) {
            // A plugin's own, beside a topic.
            let _ = writeln!(self.yaml, "    - sink: stdout");
        }
        for _ in 0..self.random.pick(&[1, 1, 1, 2]) {
            self.sink(chain, &rows);
        }
    }

    /// Other chains may begin with what a step gives.
    fn branch(&mut self, chain: &str, step: &str, rows: &Rows) {
        if self.random.chance(350) && self.budget > 0 {
            self.budget -= 2;
            self.open.push(Open {
                references: vec![format!("{chain}.{step}")],
                rows: rows.clone(),
                must: false,
                alone: false,
            });
        }
    }

    fn cast(&mut self, chain: &str, fields: &[&str], rows: &mut Rows) -> String {
        let id = format!("n{}", self.number());
        let there: Vec<&str> =
            fields.iter().copied().filter(|f| rows.columns.get(*f) == Some(&"text")).collect();
        let on_error = self.on_error(chain, &id, rows);
        let list: Vec<String> = there.iter().map(|field| format!("{field}: integer")).collect();
        let _ = write!(
            self.yaml,
            "    - transform: cast\n      id: {id}\n      on_error: {on_error}\n      with: {{ fields: {{ {} }} }}\n",
            list.join(", ")
        );
        for field in there {
            rows.columns.insert(field.to_owned(), "integer");
        }
        id
    }

    fn transform(&mut self, chain: &str, rows: &mut Rows) -> Option<String> {
        self.budget -= 1;
        match self.random.between(0, 3) {
            0 if rows.columns.get("f") == Some(&"text") => {
                let id = format!("n{}", self.number());
                let with = self.random.pick(&["equals: x", "in: [x, y]", "equals: z, not: true", "in: [y]"]);
                let _ = write!(
                    self.yaml,
                    "    - transform: filter\n      id: {id}\n      with: {{ field: f, {with} }}\n"
                );
                Some(id)
            }
            1 if rows.columns.get("v") == Some(&"text") => Some(self.cast(chain, &["v"], rows)),
            2 if rows.columns.contains_key("k") => {
                let id = format!("n{}", self.number());
                let bits = self.random.chance(800);
                let by = rows.by.clone();
                let mut fields: Vec<String> = Vec::new();
                for name in rows.columns.keys() {
                    let is_bit = BITS.contains(&name.as_str());
                    let keeps = name == "id"
                        || Some(name) == by.as_ref()
                        || if is_bit { bits } else { self.random.chance(700) };
                    if keeps {
                        fields.push(name.clone());
                    }
                }
                rows.columns.retain(|name, _| fields.contains(name));
                let _ = write!(
                    self.yaml,
                    "    - transform: select\n      id: {id}\n      with: {{ fields: [{}] }}\n",
                    fields.join(", ")
                );
                Some(id)
            }
            _ => None,
        }
    }

    /// What a window may count by; and whether its rows must go through a topic first.
    fn key(&mut self, rows: &Rows) -> Option<(Vec<String>, bool)> {
        let texts: Vec<String> = ["k", "g", "f", "key"]
            .iter()
            .filter(|name| rows.columns.get(**name) == Some(&"text"))
            .map(|name| (*name).to_owned())
            .collect();
        if rows.dead {
            let key = if rows.partitions > 1 {
                Some("partition")
            } else {
                self.random.pick(&[None, Some("reason"), Some("partition")])
            };
            return Some((key.map(str::to_owned).into_iter().collect(), false));
        }
        if rows.partitions == 1 {
            let keyed = !texts.is_empty() && self.random.chance(800);
            let keys = if keyed {
                vec![texts[self.random.between(0, texts.len() as u64) as usize].clone()]
            } else {
                Vec::new()
            };
            let cut = rows.cuts && self.random.chance(150);
            return Some((keys, cut));
        }
        // Several workers share the topic: each key must be with one of them.
        let by = rows.by.clone().filter(|by| texts.contains(by));
        let other = texts.iter().find(|text| Some(*text) != rows.by.as_ref()).cloned();
        match (by, other) {
            _ if rows.cuts && self.random.chance(150) => Some((Vec::new(), true)),
            (Some(by), _) if self.random.chance(600) => {
                Some((vec![by], rows.cuts && self.random.chance(150)))
            }
            (Some(by), Some(other)) if self.random.chance(300) => Some((vec![by, other], false)),
            (_, Some(other)) if rows.cuts => Some((vec![other], true)),
            _ => None,
        }
    }

    fn window(&mut self, chain: &str, rows: &mut Rows) {
        let Some((key, cut)) = self.key(rows) else { return };
        let id = format!("n{}", self.number());
        let bits = BITS.iter().all(|bit| rows.columns.get(*bit) == Some(&"integer"));
        let decided = rows.partitions == 1 && self.idle > 60_000 && !cut && !rows.dead;
        let (shape, session) = match self.random.between(0, 4) {
            0 => (format!("gap: {}ms", self.random.pick(&[300, 1000, 2000])), true),
            1 if bits || decided => {
                let slide = self.random.pick(&[500, 1000]);
                (format!("size: {}ms, slide: {slide}ms", slide * self.random.pick(&[2, 3])), false)
            }
            _ => (format!("size: {}ms", self.random.pick(&[500, 1000, 3000, 3_600_000])), false),
        };
        let lateness = if session { 0 } else { self.random.pick(&[0, 0, 0, 1500]) };
        let out_of_orderness =
            if bits { self.out_of_orderness } else { self.random.pick(&[0, 1000, 20_000]) };
        let mut columns = vec!["n: count".to_owned()];
        let sums: Vec<&str> = if bits {
            BITS.to_vec()
        } else {
            rows.columns.get("n").filter(|t| **t == "integer").map(|_| "n").into_iter().collect()
        };
        columns.extend(sums.iter().map(|sum| {
            let name = if *sum == "n" { "m" } else { sum };
            format!("{name}: {{ sum: {{ field: {sum} }} }}")
        }));
        let key_text = match key.as_slice() {
            [] => String::new(),
            [key] => format!("key: {key}, "),
            keys => format!("key: [{}], ", keys.join(", ")),
        };
        // What is counted together is in one partition.
        let partitions = if key.is_empty() { 1 } else { self.random.between(1, 4) };
        let repartition = match cut {
            false => String::new(),
            true => format!("      repartition: {{ partitions: {partitions} }}\n"),
        };
        // Of several workers each gives zeros for a named key that another one has, where it is not known how
        // the topic is keyed.
        let known = cut || rows.partitions == 1;
        let zero_fill = match key.as_slice() {
            _ if session || !self.random.chance(250) => "",
            // One of them never has a row.
            [_] if known && self.random.chance(300) => "zero_fill: [k0, g0, nobody], ",
            _ => "zero_fill: seen, ",
        };
        // The ids of rows without room are in their letters, where those fit in a topic themselves.
        let few = bits && zero_fill.is_empty() && !key.is_empty() && !rows.loose && !rows.large;
        let max_keys = (few && self.random.chance(200)).then(|| self.random.between(1, 4));
        let max_keys_text = max_keys.map(|most| format!("max_keys: {most}, ")).unwrap_or_default();
        let on_error = if max_keys.is_some() { "      on_error: dead_letter\n" } else { "" };
        let _ = write!(
            self.yaml,
            "    - window: aggregates\n      id: {id}\n{repartition}{on_error}      with: {{ {key_text}{shape}, {zero_fill}{max_keys_text}out_of_orderness: {out_of_orderness}ms, lateness: {lateness}ms, idle: {}ms, columns: {{ {} }} }}\n",
            self.idle,
            columns.join(", ")
        );
        // Behind a repartition a tree of its own begins.
        let tree = if cut { self.number() } else { rows.tree };
        let late = Rows { windows: false, cuts: false, tree, ..rows.clone() };
        if max_keys.is_some() {
            self.letters(chain, &id, &late, true);
        }
        self.open.push(Open {
            references: vec![format!("{chain}.{id}.late")],
            rows: late,
            must: true,
            alone: false,
        });
        let mut given: BTreeMap<String, &'static str> = BTreeMap::new();
        given.insert("window_start".to_owned(), "integer");
        given.insert("window_end".to_owned(), "integer");
        given.insert("n".to_owned(), "integer");
        if sums == ["n"] {
            given.insert("m".to_owned(), "integer");
        } else {
            given.extend(sums.iter().map(|sum| ((*sum).to_owned(), "number")));
        }
        match key.as_slice() {
            [_] => drop(given.insert("key".to_owned(), "text")),
            keys => given.extend(keys.iter().map(|key| (key.clone(), "text"))),
        }
        *rows = Rows { columns: given, windows: false, cuts: false, dead: false, tree, ..rows.clone() };
    }

    fn sink(&mut self, chain: &str, rows: &Rows) {
        self.budget -= 1;
        let topic = format!("t{}", self.number());
        // All results of a window and key stand in one partition, in their order.
        let texts: Vec<&String> = ["key", "k", "g", "f"]
            .iter()
            .filter_map(|name| rows.columns.get_key_value(*name))
            .filter(|(_, kind)| **kind == "text")
            .map(|(name, _)| name)
            .collect();
        let by = texts.first().map(|name| (*name).clone());
        let partitions = if by.is_some() { self.random.pick(&[1, 1, 2]) } else { 1 };
        let key = by.as_ref().map(|by| format!("key: {by}, ")).unwrap_or_default();
        let id = format!("n{}", self.number());
        let on_error = match rows.large && rows.columns.contains_key("p") {
            true => format!("      on_error: {}\n", self.on_error(chain, &id, rows)),
            false => String::new(),
        };
        let with = format!("topic: {topic}, {key}partitions: {partitions}");
        let _ = write!(self.yaml, "    - sink: kafka\n      id: {id}\n{on_error}      with: {{ {with} }}\n");
        // Sums that are of no row alone say nothing of one; nor do the bits of a row that may be there twice.
        let mut columns = rows.columns.clone();
        columns.retain(|name, kind| *kind != "number" && !(rows.loose && BITS.contains(&name.as_str())));
        self.written.push((
            topic,
            Rows {
                columns,
                by,
                partitions,
                windows: true,
                dead: false,
                cuts: true,
                loose: false,
                large: false,
                tree: 0,
            },
        ));
    }

    /// Chains that begin with what is there, as long as there may be more.
    fn rest(&mut self) {
        loop {
            if let Some(open) = self.open.pop() {
                self.open_chain(open);
                continue;
            }
            if self.budget <= 0 || self.written.is_empty() {
                return;
            }
            let index = self.random.between(0, self.written.len() as u64) as usize;
            let (topic, rows) = self.written.swap_remove(index);
            if self.random.chance(400) {
                self.budget -= 3;
                self.topic(&topic, &rows);
            }
        }
    }

    /// A chain that begins with an output of a step.
    fn open_chain(&mut self, mut open: Open) {
        if !open.must {
            let name = self.from(&open);
            return self.steps(&name, "from", open.rows);
        }
        // Dead letters of two steps may come together. Late rows are looked at with their window, each by
        // themselves.
        let is_dead =
            |reference: &String| reference.rsplit_once('.').is_some_and(|(_, output)| output == "dead");
        let of_dead = |open: &Open| open.references.iter().all(is_dead);
        let joins = |other: &Open| of_dead(other) && !other.alone && other.rows.tree == open.rows.tree;
        let other = self.open.iter().position(joins);
        if of_dead(&open)
            && !open.alone
            && let Some(other) = other
            && self.random.chance(300)
        {
            let Open { references, rows, .. } = self.open.remove(other);
            open.references.extend(references);
            open.rows.windows &= rows.windows;
        }
        // Its sink says what came.
        let name = self.from(&open);
        self.sink(&name, &open.rows);
        // What may be there twice says nothing of how often another reader has it.
        let again = !open.rows.loose && self.budget > 0;
        if again && self.random.chance(if open.rows.dead { 600 } else { 200 }) {
            let name = self.from(&open);
            let mut rows = open.rows;
            if rows.windows {
                self.window(&name, &mut rows);
            } else {
                let _ = self.transform(&name, &mut rows);
            }
            self.sink(&name, &rows);
        }
    }

    /// Begins it; gives its name.
    fn from(&mut self, open: &Open) -> String {
        let name = format!("c{}", self.number());
        let references = match open.references.as_slice() {
            [reference] => reference.clone(),
            references => format!("[{}]", references.join(", ")),
        };
        let _ = write!(self.yaml, "  {name}:\n    - from: {references}\n");
        name
    }
}
