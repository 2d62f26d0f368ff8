//! What a run has read of a topic from its own beginning on, so that steps that follow each other read it once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use kafka_protocol::records::Record;

use crate::value::Value;

/// Bytes of messages that are kept. What comes after them is read by each step for itself.
const MOST_KEPT: usize = 4 << 20;
/// What a message takes beside its key and value, about.
const OVERHEAD: usize = 256;

/// A message that was read.
pub(in crate::actions) struct Taken {
    pub(in crate::actions) partition: i32,
    pub(in crate::actions) record: Record,
    /// As flows see it without a schema, once one has looked.
    plain: OnceLock<Value>,
}

impl Taken {
    pub(in crate::actions) fn new(partition: i32, record: Record) -> Self {
        Self { partition, record, plain: OnceLock::new() }
    }

    /// What `make` made of it when it was first asked for.
    pub(in crate::actions) fn plain(&self, make: impl FnOnce(&Self) -> Value) -> Value {
        self.plain.get_or_init(|| make(self)).clone()
    }

    fn size(&self) -> usize {
        let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        OVERHEAD + length(&self.record.key) + length(&self.record.value)
    }
}

/// The messages of a topic that are kept.
#[derive(Default)]
pub(in crate::actions) struct Backlog {
    taken: Vec<Arc<Taken>>,
    size: usize,
    /// Where each partition goes on after them.
    offsets: HashMap<i32, i64>,
}

impl Backlog {
    pub(in crate::actions) fn taken(&self) -> &[Arc<Taken>] {
        &self.taken
    }

    pub(in crate::actions) fn offsets(&self) -> &HashMap<i32, i64> {
        &self.offsets
    }

    /// Where a partition was found to start, unless that is known.
    pub(in crate::actions) fn start(&mut self, partition: i32, offset: i64) {
        self.offsets.entry(partition).or_insert(offset);
    }

    /// Keeps what was read of `partition` from one offset up to another, if it goes on where this ends and there is room.
    pub(in crate::actions) fn keep(&mut self, partition: i32, (from, to): (i64, i64), taken: &[Arc<Taken>]) {
        let size = self.size + taken.iter().map(|taken| taken.size()).sum::<usize>();
        if let Some(end) = self.offsets.get_mut(&partition)
            && *end == from
            && size <= MOST_KEPT
        {
            *end = to;
            self.size = size;
            self.taken.extend_from_slice(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::indexmap::IndexMap;
    use kafka_protocol::records::TimestampType;

    use super::*;

    fn taken(offset: i64, size: usize) -> Arc<Taken> {
        let record = Record {
            transactional: false,
            control: false,
            partition_leader_epoch: 0,
            producer_id: 0,
            producer_epoch: 0,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: 0,
            timestamp: 0,
            key: None,
            value: Some(Bytes::from(vec![b'x'; size])),
            headers: IndexMap::new(),
        };
        Arc::new(Taken::new(0, record))
    }

    fn offsets(backlog: &Backlog) -> Vec<i64> {
        backlog.taken().iter().map(|taken| taken.record.offset).collect()
    }

    #[test]
    fn keeps_what_goes_on_where_it_ends() {
        let mut backlog = Backlog::default();
        backlog.keep(0, (5, 6), &[taken(5, 1)]);
        assert_eq!(offsets(&backlog), [0_i64; 0], "nobody knows where the partition starts");
        backlog.start(0, 5);
        backlog.keep(0, (5, 7), &[taken(5, 1), taken(6, 1)]);
        // Another step has read the same meanwhile, or more.
        backlog.keep(0, (5, 6), &[taken(5, 1)]);
        backlog.keep(0, (8, 9), &[taken(8, 1)]);
        backlog.start(0, 5);
        assert_eq!((offsets(&backlog), backlog.offsets()[&0]), (vec![5, 6], 7));
    }

    #[test]
    fn keeps_no_more_than_it_has_room_for() {
        let mut backlog = Backlog::default();
        backlog.start(0, 0);
        backlog.keep(0, (0, 1), &[taken(0, MOST_KEPT / 2)]);
        backlog.keep(0, (1, 2), &[taken(1, MOST_KEPT / 2)]);
        assert_eq!((offsets(&backlog), backlog.offsets()[&0]), (vec![0], 1), "the next reader goes on after the first");
    }
}
