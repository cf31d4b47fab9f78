use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Every way there is, as a choice for all values.
const CHOICES: &[Compression] = &[
    Compression::none().over_bytes(0),
    #[cfg(feature = "lz4")]
    Compression::lz4().over_bytes(0),
    #[cfg(feature = "zstd")]
    Compression::zstd().over_bytes(0),
];

fn packing() -> impl Iterator<Item = Compression> {
    CHOICES.iter().copied().filter(|choice| choice.way != Way::None)
}

/// Compresses well, and is not all one byte.
fn text(bytes: usize) -> Vec<u8> {
    "a line of a shopping list; ".bytes().cycle().take(bytes).collect()
}

/// Compresses to nothing smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn claiming(bytes: u32, block: &[u8]) -> Vec<u8> {
    [&bytes.to_le_bytes()[..], block].concat()
}

#[test]
fn ids_stay_as_they_are() {
    assert_eq!((Way::None.id(), Way::of_id(0)), (0, Some(Way::None)));
    #[cfg(feature = "lz4")]
    assert_eq!((Way::Lz4.id(), Way::of_id(1)), (1, Some(Way::Lz4)));
    #[cfg(feature = "zstd")]
    assert_eq!((Way::Zstd.id(), Way::of_id(2)), (2, Some(Way::Zstd)));
    assert_eq!(Way::of_id(3), None);
}

#[test]
fn a_value_is_compressed_only_over_its_threshold() {
    for (choice, over) in [
        #[cfg(feature = "lz4")]
        (Compression::lz4(), 1 << 10),
        #[cfg(feature = "zstd")]
        (Compression::zstd(), 8 << 10),
        #[cfg(feature = "lz4")]
        (Compression::lz4().over_bytes(100), 100),
    ] {
        assert_eq!(choice.pack(text(over)).way, Way::None, "{choice:?}");
        assert_eq!(choice.pack(text(over + 1)).way, choice.way, "{choice:?}");
    }
    assert_eq!(Compression::none().pack(text(1 << 20)).way, Way::None);
    #[cfg(feature = "lz4")]
    assert_eq!(Compression::default(), Compression::lz4());
}

#[test]
fn compression_is_kept_only_where_it_saves_an_eighth() {
    for choice in packing() {
        let plain = choice.pack(noise(4_000));
        assert_eq!((plain.way, &plain.bytes), (Way::None, &noise(4_000)), "{choice:?}");
        // Noise with a tail that costs nothing: what is saved is the tail, less a few bytes.
        let saving = |tail: usize| choice.pack([noise(7_000), vec![0; tail]].concat());
        assert_eq!(saving(900).way, Way::None, "{choice:?}");
        assert_eq!(saving(1_200).way, choice.way, "{choice:?}");
    }
}

/// It would be gigabytes: nothing is reserved for it, and nothing inflated.
#[test]
fn a_claim_over_the_cap_is_refused_before_anything_is_reserved() {
    for choice in packing() {
        let way = choice.way;
        let bomb = claiming(u32::MAX, &choice.pack(vec![0; 1 << 20]).bytes[LENGTH_BYTES..]);
        let large = Fault::Large { bytes: u32::MAX as usize, max: 8 << 20 };
        assert_eq!(way.inflate(&bomb, 8 << 20), Err(large));
        let packed = choice.pack(text(9_000)).bytes;
        assert_eq!(way.inflate(&packed, 9_000).unwrap(), text(9_000));
        assert_eq!(way.inflate(&packed, 8_999), Err(Fault::Large { bytes: 9_000, max: 8_999 }));
    }
    assert_eq!(Way::None.inflate(&[1; 9], 9).unwrap(), &[1; 9][..]);
    assert_eq!(Way::None.inflate(&[1; 9], 8), Err(Fault::Large { bytes: 9, max: 8 }));
}

#[test]
fn what_inflates_to_more_or_less_than_it_claims_is_refused() {
    for choice in packing() {
        let packed = choice.pack(text(9_000)).bytes;
        for claim in [0, 1, 8_999, 9_001, 100_000] {
            let forged = claiming(claim, &packed[LENGTH_BYTES..]);
            let refused = Err(Fault::Claim(claim as usize));
            assert_eq!(choice.way.inflate(&forged, 1 << 20), refused, "{choice:?} {claim}");
        }
        for length in 0..LENGTH_BYTES {
            assert_eq!(choice.way.inflate(&packed[..length], 1 << 20), Err(Fault::Short));
        }
        for length in LENGTH_BYTES..packed.len() {
            assert!(choice.way.inflate(&packed[..length], 1 << 20).is_err(), "{choice:?} {length}");
        }
        let grown = [&packed[..], b"\x10x"].concat();
        assert!(choice.way.inflate(&grown, 1 << 20).is_err(), "{choice:?}");
    }
}

#[cfg(feature = "lz4")]
#[test]
fn a_claim_that_its_bytes_cannot_hold_is_refused() {
    let claim = claiming(1 << 20, &[0; 100]);
    assert_eq!(Way::Lz4.inflate(&claim, 8 << 20), Err(Fault::Claim(1 << 20)));
    // The most there is: and it does come out.
    let zeros = Compression::lz4().pack(vec![0; 8 << 20]);
    assert!(zeros.whole_bytes < zeros.bytes.len() * LZ4_GAIN_MAX);
    assert_eq!(Way::Lz4.inflate(&zeros.bytes, 8 << 20).unwrap().len(), 8 << 20);
}

/// A thread's one context is used for every value, and one that failed leaves nothing behind in it.
#[test]
fn a_failure_leaves_the_next_value_whole() {
    for choice in packing() {
        for round in 0..20 {
            let value = text(10_000 + round);
            let packed = choice.pack(value.clone());
            let mut broken = packed.bytes.clone();
            broken.truncate(20);
            assert!(choice.way.inflate(&broken, 1 << 20).is_err());
            assert_eq!(choice.way.inflate(&packed.bytes, 1 << 20).unwrap(), value);
        }
    }
}

proptest! {
    #[test]
    fn what_is_packed_is_inflated(value in vec(0u8..4, 0..3_000), copies in 1usize..9) {
        let value = value.repeat(copies);
        for choice in CHOICES {
            let packed = choice.pack(value.clone());
            prop_assert_eq!(packed.whole_bytes, value.len());
            prop_assert_eq!(packed.way.whole_bytes(&packed.bytes), Ok(value.len()));
            let inflated = packed.way.inflate(&packed.bytes, value.len()).unwrap();
            prop_assert_eq!(&inflated[..], &value[..]);
        }
    }

    /// Any bytes: never a panic, never more than was claimed or than is allowed.
    #[test]
    fn any_bytes_can_be_inflated(bytes in vec(any::<u8>(), 0..400), claim in 0u32..5_000) {
        for choice in CHOICES {
            for payload in [&bytes, &claiming(claim, &bytes)] {
                if let Ok(whole) = choice.way.inflate(payload, 4_000) {
                    prop_assert!(whole.len() <= 4_000);
                    prop_assert_eq!(choice.way.whole_bytes(payload), Ok(whole.len()));
                }
            }
        }
    }

    #[test]
    fn changed_bytes_can_be_inflated(
        value in vec(0u8..4, 500..3_000),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for choice in packing() {
            let mut bytes = choice.pack(value.clone()).bytes;
            for (at, to) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            if let Ok(whole) = choice.way.inflate(&bytes, 4_000) {
                prop_assert!(whole.len() <= 4_000);
            }
        }
    }
}
