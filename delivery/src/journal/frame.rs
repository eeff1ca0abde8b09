//! What a frame carries: records with the places that they have in their lanes.
//!
//! A payload is the name of the producer and then parts, up to its end. A part is what one slot of the producer had for one list.

use crate::position::{Epoch, Position};

/// The first byte of a payload: the form of the rest.
const FORM: u8 = 1;

/// Makes a payload.
#[derive(Debug, Clone)]
pub struct Encoder {
    bytes: Vec<u8>,
    records: u32,
}

impl Encoder {
    /// An empty payload of `producer`.
    pub fn new(producer: &str) -> Self {
        let mut bytes = vec![FORM];
        put_bytes(&mut bytes, producer.as_bytes());
        Self { bytes, records: 0 }
    }

    /// Adds `count` records for `list` as given by `slot`; the first of them stands at `start`.
    pub fn part<'a>(
        &mut self,
        slot: u16,
        list: &str,
        start: Position,
        count: usize,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) {
        put_number(&mut self.bytes, u64::from(slot));
        put_bytes(&mut self.bytes, list.as_bytes());
        self.bytes.extend_from_slice(&start.epoch.0.to_le_bytes());
        self.bytes.extend_from_slice(&start.offset.to_le_bytes());
        put_number(&mut self.bytes, count as u64);
        let mut given = 0;
        for record in records {
            put_bytes(&mut self.bytes, record);
            given += 1;
        }
        assert_eq!(given, count, "a part is as long as it says");
        self.records += count as u32;
    }

    /// Records in it.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

/// A payload whose checksum is good and whose form is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame is of another form than this program writes")]
pub struct Malformed;

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Who gave the records.
    pub producer: &'a str,
    /// What it gave, in order.
    pub parts: Vec<Part<'a>>,
}

/// Records of one slot for one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The slot of the producer: it has cursors of its own.
    pub slot: u16,
    /// The list.
    pub list: &'a str,
    /// The place of the first record in the lane of slot and list.
    pub start: Position,
    /// The records.
    pub records: Vec<&'a [u8]>,
}

impl Part<'_> {
    /// The place behind the last record.
    pub fn end(&self) -> Position {
        Position { offset: self.start.offset + self.records.len() as u64, ..self.start }
    }
}

impl<'a> Batch<'a> {
    /// Takes `payload` apart; all of it makes sense, or none of it is taken.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(payload);
        let batch = rest.batch().ok_or(Malformed)?;
        if rest.0.is_empty() { Ok(batch) } else { Err(Malformed) }
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn batch(&mut self) -> Option<Batch<'a>> {
        if self.take(1)? != [FORM] {
            return None;
        }
        let producer = self.text()?;
        let mut parts = Vec::new();
        while !self.0.is_empty() {
            let slot = u16::try_from(self.number()?).ok()?;
            let list = self.text()?;
            let start = Position { epoch: Epoch(self.word()?), offset: self.word()? };
            let count = usize::try_from(self.number()?).ok()?;
            // Each takes a byte at least: a wrong count must not make us ask for memory.
            let mut records = Vec::with_capacity(count.min(self.0.len()));
            for _ in 0..count {
                records.push(self.bytes()?);
            }
            start.offset.checked_add(count as u64)?;
            parts.push(Part { slot, list, start, records });
        }
        Some(Batch { producer, parts })
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Given = Vec<(u16, String, u64, u64, Vec<Vec<u8>>)>;

    fn given() -> impl Strategy<Value = Given> {
        let records = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5);
        let part = (any::<u16>(), "[a-z{}:é]{0,200}", any::<u64>(), 0..u64::MAX / 2, records);
        proptest::collection::vec(part, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_comes_out_as_it_went_in_and_every_other_length_is_refused_or_another_batch(given in given()) {
            let mut encoder = Encoder::new("central:tcp");
            for (slot, list, epoch, offset, records) in &given {
                let start = Position { epoch: Epoch(*epoch), offset: *offset };
                encoder.part(*slot, list, start, records.len(), records.iter().map(Vec::as_slice));
            }
            let batch = Batch::decode(encoder.bytes()).expect("what was made can be read");
            prop_assert_eq!(batch.producer, "central:tcp");
            let parts: Given = batch.parts.iter().map(|part| {
                let records = part.records.iter().map(|record| record.to_vec()).collect();
                (part.slot, part.list.to_owned(), part.start.epoch.0, part.start.offset, records)
            }).collect();
            prop_assert_eq!(encoder.records() as usize, parts.iter().map(|part| part.4.len()).sum::<usize>());
            prop_assert_eq!(&parts, &given);
            for cut in 0..encoder.bytes().len() {
                let cut = Batch::decode(&encoder.bytes()[..cut]);
                prop_assert!(cut.is_err() || cut.is_ok_and(|cut| cut.parts.len() < given.len()));
            }
        }

        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let _ = Batch::decode(&bytes);
            bytes.insert(0, FORM);
            let _ = Batch::decode(&bytes);
        }
    }
}
