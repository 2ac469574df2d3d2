//! Where an event lies: its partition and offset, and the number both make together.

use buffer::Error;
use model::Event;

/// How many bits of a number are the offset: the partition is in those above.
const OFFSET_BITS: u32 = 48;
/// Most partitions a topic may have.
pub(crate) const PARTITIONS_MAX: u16 = 1 << 14;
/// As the default partitioner of Kafka's own clients has it.
const MURMUR_SEED: u32 = 0x9747_b28c;

/// A record's place in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Place {
    /// The number of the event there: rising within a partition, and so within a key.
    pub(crate) fn seq(self) -> u64 {
        (u64::from(self.partition.unsigned_abs()) << OFFSET_BITS) | self.offset.unsigned_abs()
    }

    /// The place of this number.
    pub(crate) fn of(seq: u64) -> Self {
        let partition = i32::try_from(seq >> OFFSET_BITS).expect("16 bits fit");
        let offset = i64::try_from(seq & ((1 << OFFSET_BITS) - 1)).expect("48 bits fit");
        Self { partition, offset }
    }

    /// A record's place.
    ///
    /// # Errors
    /// If the partition or offset is past what numbers can hold.
    pub(crate) fn checked(partition: i32, offset: i64) -> Result<Self, Error> {
        if !(0..i32::from(PARTITIONS_MAX)).contains(&partition)
            || !(0..1 << OFFSET_BITS).contains(&offset)
        {
            let what = format!("offset {offset} of partition {partition} is past all bounds");
            return Err(Error::Corrupt(what));
        }
        Ok(Self { partition, offset })
    }
}

/// The partition that an event belongs to: by its key, or by its id where there is no key. The same
/// that the default partitioner of Kafka's own clients chooses for a record with that key.
pub(crate) fn home(event: &Event, partitions: i32) -> i32 {
    let text = if event.key().is_empty() { event.id() } else { event.key() };
    let positive = i32::try_from(murmur2(text) & 0x7fff_ffff).expect("31 bits fit");
    positive % partitions.max(1)
}

/// `MurmurHash2`, 32 bits, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = MURMUR_SEED ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |last, byte| (last << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_the_place() {
        for (partition, offset) in
            [(0, 0), (0, 7), (3, 1 << 40), (i32::from(PARTITIONS_MAX) - 1, 42)]
        {
            let place = Place::checked(partition, offset).unwrap();
            assert_eq!(Place::of(place.seq()), place);
        }
        assert!(
            Place::checked(PARTITIONS_MAX.into(), 0).is_err() && Place::checked(-1, 0).is_err()
        );
        assert!(Place::checked(0, 1 << OFFSET_BITS).is_err());
        let in_order = [(0, 5), (0, 6), (1, 0)].map(|(p, o)| Place::checked(p, o).unwrap().seq());
        assert!(in_order.is_sorted());
    }

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn keys_hash_as_they_do_in_kafkas_own_clients() {
        let check = |text: &str, hash: i32| {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        };
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
    }
}
