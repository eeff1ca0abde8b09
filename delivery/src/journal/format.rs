//! The bytes of a segment: its header and the headers of its frames. Byte by byte in `docs/SPOOL.md`.
//!
//! All numbers are little endian. Checksums are CRC-32C. Those of headers begin with the store's salt: whoever sends us records does
//! not know it, so no record can hold what a search behind a damaged place would take for a frame.

/// Bytes of a segment's header: a block of its own, so that a write to frames never touches it.
pub const HEADER_BYTES: u64 = 4096;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 56;
/// Frames begin at multiples of this.
pub const GRID: usize = 8;
/// The format that is written here. A greater one is refused: it is of a later program.
pub const VERSION: u32 = 1;
/// A frame's payload is at most this long.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"OMRJRNL1";
pub(super) const FRAME_MAGIC: [u8; 4] = *b"\xf1OM1";

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Where counting stands: the next frame and the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count {
    /// Number of the next frame.
    pub lsn: u64,
    /// Number of the next record.
    pub record: u64,
}

/// What all segments of a store share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// The lower half of all its epochs.
    pub family: u32,
    /// What the checksums of headers begin with.
    pub salt: u32,
}

/// What a segment says about itself and about what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store that it belongs to.
    pub store: Store,
    /// Its number, also in its name. Numbers grow and are never used again.
    pub number: u64,
    /// The life of the store in which it was begun.
    pub epoch: u64,
    /// Number of its first frame and of the first record in it.
    pub first: Count,
    /// The segment before it that holds frames; 0 if there was none. Any between the two hold nothing.
    pub before: u64,
    /// Where that one ends: what lies behind was never acknowledged.
    pub before_end: u64,
    /// Where counting stood at that end.
    pub before_count: Count,
    /// When it was begun, in seconds since 1970.
    pub created: u64,
}

/// Why a segment's header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// Written by a later program, undamaged.
    Version(u32),
    /// Anything else.
    Damaged,
}

fn block_sum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..12]), &block[16..])
}

/// Puts the checksum of a block into its bytes 12 to 15: over all others.
pub(super) fn seal(block: &mut [u8]) {
    let sum = block_sum(block);
    put_u32(block, 12, sum);
}

/// The version of a block whose magic and checksum are good.
pub(super) fn sealed_version(block: &[u8], magic: [u8; 8]) -> Option<u32> {
    (block[..8] == magic && u32_at(block, 12) == block_sum(block)).then(|| u32_at(block, 8))
}

impl SegmentHeader {
    /// The block at the start of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES as usize];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        put_u32(&mut block, 8, VERSION);
        put_u32(&mut block, 16, self.store.family);
        put_u32(&mut block, 20, self.store.salt);
        let numbers = [
            self.number,
            self.epoch,
            self.first.lsn,
            self.first.record,
            self.before,
            self.before_end,
            self.before_count.lsn,
            self.before_count.record,
            self.created,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            put_u64(&mut block, 24 + 8 * index, number);
        }
        seal(&mut block);
        block
    }

    /// Reads the block at the start of a file.
    pub fn decode(block: &[u8]) -> Result<Self, BadHeader> {
        let block = block.get(..HEADER_BYTES as usize).ok_or(BadHeader::Damaged)?;
        match sealed_version(block, SEGMENT_MAGIC) {
            Some(VERSION) => {}
            Some(version) => return Err(BadHeader::Version(version)),
            None => return Err(BadHeader::Damaged),
        }
        let number = |index: usize| u64_at(block, 24 + 8 * index);
        Ok(Self {
            store: Store { family: u32_at(block, 16), salt: u32_at(block, 20) },
            number: number(0),
            epoch: number(1),
            first: Count { lsn: number(2), record: number(3) },
            before: number(4),
            before_end: number(5),
            before_count: Count { lsn: number(6), record: number(7) },
            created: number(8),
        })
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of its payload.
    pub len: u32,
    /// Records in it.
    pub records: u32,
    /// The segment that it was written into: a frame that an earlier use of the file has left does not count.
    pub segment: u64,
    /// Its number, and that of its first record.
    pub count: Count,
    /// When it was written, everything in this segment before this offset had been acknowledged.
    pub settled: u64,
    /// Checksum of the payload.
    pub payload_sum: u32,
}

impl FrameHeader {
    /// Writes it into the first bytes of `out`.
    pub fn encode(&self, salt: u32, out: &mut [u8]) {
        out[..4].copy_from_slice(&FRAME_MAGIC);
        put_u32(out, 8, self.len);
        put_u32(out, 12, self.records);
        put_u64(out, 16, self.segment);
        put_u64(out, 24, self.count.lsn);
        put_u64(out, 32, self.count.record);
        put_u64(out, 40, self.settled);
        put_u32(out, 48, self.payload_sum);
        put_u32(out, 52, 0);
        let sum = crc32c::crc32c_append(salt, &out[8..FRAME_HEADER_BYTES]);
        put_u32(out, 4, sum);
    }

    /// The header at the start of `bytes`, if it is one of a frame of `segment`.
    pub fn decode(bytes: &[u8], segment: u64, salt: u32) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let good = bytes[..4] == FRAME_MAGIC
            && u64_at(bytes, 16) == segment
            && u32_at(bytes, 4) == crc32c::crc32c_append(salt, &bytes[8..])
            && u32_at(bytes, 8) as usize <= PAYLOAD_BYTES_MAX;
        good.then(|| Self {
            len: u32_at(bytes, 8),
            records: u32_at(bytes, 12),
            segment,
            count: Count { lsn: u64_at(bytes, 24), record: u64_at(bytes, 32) },
            settled: u64_at(bytes, 40),
            payload_sum: u32_at(bytes, 48),
        })
    }

    /// Bytes of the whole frame, padding included.
    pub fn size(&self) -> usize {
        frame_size(self.len as usize)
    }

    /// Where counting stands behind it.
    pub fn after(&self) -> Count {
        Count { lsn: self.count.lsn + 1, record: self.count.record + u64::from(self.records) }
    }
}

/// Bytes of a frame with a payload of `len` bytes.
pub fn frame_size(len: usize) -> usize {
    FRAME_HEADER_BYTES + len.next_multiple_of(GRID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: Store = Store { family: 7, salt: 0x1234_5678 };

    #[test]
    fn a_segment_header_survives_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            store: STORE,
            number: 3,
            epoch: u64::MAX,
            first: Count { lsn: 10, record: 100 },
            before: 2,
            before_end: 4096,
            before_count: Count { lsn: 9, record: 99 },
            created: 1,
        };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(&block), Ok(header));
        for bit in 0..block.len() * 8 {
            let mut bad = block.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), Err(BadHeader::Damaged), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&block[..4095]), Err(BadHeader::Damaged));
        let mut later = block;
        put_u32(&mut later, 8, VERSION + 1);
        seal(&mut later);
        assert_eq!(SegmentHeader::decode(&later), Err(BadHeader::Version(VERSION + 1)));
    }

    #[test]
    fn a_frame_header_survives_and_every_flipped_bit_is_seen() {
        let header = FrameHeader {
            len: 5,
            records: 2,
            segment: 3,
            count: Count { lsn: 10, record: 100 },
            settled: 4096,
            payload_sum: 9,
        };
        let mut bytes = [0; FRAME_HEADER_BYTES];
        header.encode(STORE.salt, &mut bytes);
        assert_eq!(FrameHeader::decode(&bytes, 3, STORE.salt), Some(header));
        assert_eq!(FrameHeader::decode(&bytes, 4, STORE.salt), None, "of another segment");
        assert_eq!(FrameHeader::decode(&bytes, 3, 1), None, "of another store");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&bad, 3, STORE.salt), None, "bit {bit}");
        }
        assert_eq!((header.size(), frame_size(0), frame_size(8)), (64, 56, 64));
    }
}
