//! Columns that grow message by message, without an allocation for each.

use std::mem;

use arrow_array::builder::BinaryBuilder;
use pipectl_framework::batch::Partition;
use pipectl_framework::log::{NO_TIME, Records};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// Records of one partition, being gathered.
#[derive(Debug)]
pub(super) struct Columns {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    /// The headers that are wanted, by name.
    headers: Vec<(String, BinaryBuilder)>,
    bytes: usize,
}

impl Columns {
    pub(super) fn new(headers: &[String]) -> Self {
        Self {
            offsets: Vec::new(),
            timestamps: Vec::new(),
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            headers: headers.iter().map(|name| (name.clone(), BinaryBuilder::new())).collect(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let (key, value) = (message.key(), message.payload());
        self.offsets.push(message.offset());
        self.timestamps.push(message.timestamp().to_millis().unwrap_or(NO_TIME));
        self.keys.append_option(key);
        self.values.append_option(value);
        self.bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if self.headers.is_empty() {
            return;
        }
        let found = message.headers();
        for (name, cells) in &mut self.headers {
            let all = found.iter().flat_map(|headers| headers.iter());
            let cell = all.filter(|header| header.key == name).last().and_then(|header| header.value);
            cells.append_option(cell);
            self.bytes += cell.map_or(0, <[u8]>::len);
        }
    }

    /// Hands out what was gathered, and begins anew with as much room.
    pub(super) fn take(&mut self, partition: &Partition) -> Records {
        let rows = self.len();
        self.bytes = 0;
        Records {
            partition: partition.clone(),
            offsets: mem::replace(&mut self.offsets, Vec::with_capacity(rows)).into(),
            timestamps: mem::replace(&mut self.timestamps, Vec::with_capacity(rows)).into(),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: self.headers.iter_mut().map(|(_, cells)| cells.finish()).collect(),
        }
    }

    pub(super) fn clear(&mut self) {
        let headers: Vec<String> = self.headers.drain(..).map(|(name, _)| name).collect();
        *self = Self::new(&headers);
    }
}
