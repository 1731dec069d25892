//! The paths of several fields as one tree, so that a record is read once, from its beginning to its end.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;

use super::path::Step;
use super::read::{ReadValue, Slot};
use super::value::{Reading, from_written};

/// What is read where a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The value of a field.
    Field(usize),
    /// The value as it is written.
    Written,
}

/// The paths that go on from a value.
#[derive(Debug, Default)]
pub(super) struct Tree {
    names: Vec<(String, Tree)>,
    indices: Vec<(i64, Tree)>,
    leaves: Vec<Leaf>,
    /// Its number, among those of its root.
    number: usize,
}

/// What is read by way of a tree.
pub(super) struct Target<'a, 'de> {
    pub(super) fields: &'a [Reading],
    pub(super) values: &'a mut [Slot],
    pub(super) text: &'a mut Vec<u8>,
    /// Which values were there already.
    pub(super) seen: &'a mut [bool],
    /// What stands at [`Leaf::Written`].
    pub(super) written: &'a mut Option<&'de str>,
}

impl Tree {
    /// Adds a path without `Every`, and gives how many nodes there are. `nodes` is how many there were, the
    /// root included.
    pub(super) fn add(&mut self, steps: &[Step], leaf: Leaf, nodes: &mut usize) {
        let Some((step, rest)) = steps.split_first() else {
            self.leaves.push(leaf);
            return;
        };
        let mut new = || {
            *nodes += 1;
            Self { number: *nodes - 1, ..Self::default() }
        };
        let child = match step {
            Step::Name(name) => {
                let found = self.names.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
                    self.names.push((name.clone(), new()));
                    self.names.len() - 1
                });
                self.names.get_mut(found).map(|(_, child)| child)
            }
            Step::Index(index) => {
                let found = self.indices.iter().position(|(i, _)| i == index).unwrap_or_else(|| {
                    self.indices.push((*index, new()));
                    self.indices.len() - 1
                });
                self.indices.get_mut(found).map(|(_, child)| child)
            }
            Step::Every => None,
        };
        if let Some(child) = child {
            child.add(rest, leaf, nodes);
        }
    }

    /// What a value must be for any path to lead on; `None` where it may be anything.
    pub(super) fn wanted(&self) -> Option<&'static str> {
        match (self.names.is_empty(), self.indices.is_empty(), self.leaves.is_empty()) {
            (false, true, true) => Some("an object"),
            (true, false, true) => Some("a list"),
            _ => None,
        }
    }
}

/// Reads a value and what is in it.
pub(super) struct ReadTree<'t, 'a, 'de> {
    pub(super) tree: &'t Tree,
    pub(super) target: &'t mut Target<'a, 'de>,
    /// Where the value is the record, or the element that a row is made of: it must be what the paths want.
    pub(super) root: bool,
}

impl<'de> DeserializeSeed<'de> for ReadTree<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self { tree, target, root } = self;
        let alone = tree.names.is_empty() && tree.indices.is_empty();
        if let ([Leaf::Field(index)], true) = (tree.leaves.as_slice(), alone)
            && let Some(field) = target.fields.get(*index).filter(|field| field.is_simple())
        {
            let read = ReadValue { name: &field.name, field_type: field.field_type, text: target.text };
            let value = read.deserialize(json)?;
            if let Some(slot) = target.values.get_mut(*index) {
                *slot = value;
            }
            return Ok(());
        }
        if tree.leaves.is_empty() && tree.indices.iter().all(|(index, _)| *index >= 0) {
            return json.deserialize_any(Inside { tree, target, length: 0, root });
        }
        // What is looked at more than once is looked at as it is written.
        let written = <&'de RawValue>::deserialize(json)?.get();
        for leaf in &tree.leaves {
            match leaf {
                Leaf::Written => *target.written = Some(written),
                Leaf::Field(index) => {
                    if let (Some(field), Some(slot)) =
                        (target.fields.get(*index), target.values.get_mut(*index))
                    {
                        *slot = from_written(written, field, target.text).map_err(D::Error::custom)?;
                    }
                }
            }
        }
        if alone {
            return Ok(());
        }
        let length = match tree.indices.iter().any(|(index, _)| *index < 0) && written.starts_with('[') {
            true => count(written).map_err(D::Error::custom)?,
            false => 0,
        };
        let inside = Inside { tree, target, length, root };
        serde_json::Deserializer::from_str(written).deserialize_any(inside).map_err(D::Error::custom)
    }
}

/// How many elements a list has.
fn count(written: &str) -> serde_json::Result<usize> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while list.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    serde_json::Deserializer::from_str(written).deserialize_seq(Count)
}

/// Reads what is in a value.
struct Inside<'t, 'a, 'de> {
    tree: &'t Tree,
    target: &'t mut Target<'a, 'de>,
    /// How many elements the list has, where that matters.
    length: usize,
    root: bool,
}

impl<'de> Inside<'_, '_, 'de> {
    fn members<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(found) = object.next_key_seed(ReadName(self.tree))? {
            let Some((name, child)) = found.and_then(|index| self.tree.names.get(index)) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            match self.target.seen.get_mut(child.number) {
                Some(seen @ false) => *seen = true,
                _ => return Err(A::Error::custom(format_args!("the field `{name}` is there twice"))),
            }
            object.next_value_seed(ReadTree { tree: child, target: &mut *self.target, root: false })?;
        }
        Ok(())
    }

    fn elements<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut at: i64 = 0;
        loop {
            let from_end = at - self.length as i64;
            let mut here = self.tree.indices.iter().filter(|(index, _)| *index == at || *index == from_end);
            let more = match (here.next(), here.next()) {
                (None, _) => list.next_element::<IgnoredAny>()?.is_some(),
                (Some((_, child)), None) => {
                    let target = &mut *self.target;
                    list.next_element_seed(ReadTree { tree: child, target, root: false })?.is_some()
                }
                // `[0]` and `[-1]` are one in a list of one.
                (Some((_, first)), Some((_, second))) => match list.next_element::<&'de RawValue>()? {
                    Some(written) => {
                        for tree in [first, second] {
                            let read = ReadTree { tree, target: &mut *self.target, root: false };
                            let mut json = serde_json::Deserializer::from_str(written.get());
                            read.deserialize(&mut json).map_err(A::Error::custom)?;
                        }
                        true
                    }
                    None => false,
                },
            };
            if !more {
                return Ok(());
            }
            at += 1;
        }
    }

    /// A value in which no path leads on.
    fn nowhere<E: serde::de::Error>(&self, found: &str) -> Result<(), E> {
        match self.tree.wanted().filter(|_| self.root) {
            Some(wanted) => Err(E::custom(format_args!("expected {wanted}, found {found}"))),
            None => Ok(()),
        }
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.nowhere("null")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.nowhere(if value { "true" } else { "false" })
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.nowhere("a number")
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.nowhere("a number")
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.nowhere("a number")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.nowhere("a text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        if !self.tree.names.is_empty() {
            return self.members(object);
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.nowhere("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.tree.indices.is_empty() {
            return self.elements(list);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.nowhere("a list")
    }
}

/// Finds the name of a member among those that paths go on by.
struct ReadName<'t>(&'t Tree);

impl<'de> DeserializeSeed<'de> for ReadName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.names.iter().position(|(n, _)| n == name))
    }
}
