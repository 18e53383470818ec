//! Telling HE-AAC from AAC-LC.
//!
//! A decoder for AAC-LC plays the core of an HE-AAC stream at half its rate and without its
//! highs, and says nothing. There are three ways to signal HE-AAC (ISO/IEC 14496-3, 1.6.5): as
//! the object type (5 spectral band replication, 29 parametric stereo), as an extension behind an
//! AAC-LC configuration (sync word 0x2b7), and not at all, where only the fill elements of the
//! stream carry it. All three are recognised here.

use symphonia::core::io::{BitReaderLtr, ReadBitsLtr};

/// Audio object types of ISO/IEC 14496-3, table 1.17, that this crate names.
const TYPES: &[(u32, &str)] = &[
    (1, "AAC Main"),
    (3, "AAC SSR"),
    (4, "AAC LTP"),
    (5, "HE-AAC"),
    (23, "AAC-LD"),
    (29, "HE-AAC v2"),
    (36, "MPEG-4 ALS"),
    (39, "AAC-ELD"),
    (42, "xHE-AAC (USAC)"),
];
const LOW_COMPLEXITY: u32 = 2;
const SPECTRAL_BAND_REPLICATION: u32 = 5;
const EXTENSION_SYNC: u32 = 0x2b7;
const PARAMETRIC_STEREO_SYNC: u32 = 0x548;

/// The name of what an AudioSpecificConfig announces, unless it is plain AAC-LC.
pub(crate) fn refused_type(config: &[u8]) -> Option<&'static str> {
    let mut bits = BitReaderLtr::new(config);
    let object_type = read_object_type(&mut bits)?;
    if let Some((_, name)) = TYPES.iter().find(|(number, _)| *number == object_type) {
        return Some(name);
    }
    if object_type != LOW_COMPLEXITY {
        return None; // The decoder refuses what it does not know.
    }
    extension_behind(&mut bits).flatten()
}

/// The backward-compatible extension behind an AAC-LC configuration.
fn extension_behind(bits: &mut BitReaderLtr<'_>) -> Option<Option<&'static str>> {
    skip_sample_rate(bits)?;
    read(bits, 4)?; // channel configuration
    read(bits, 1)?; // frame length
    if read(bits, 1)? == 1 {
        read(bits, 14)?; // core coder delay
    }
    read(bits, 1)?; // extension flag
    if read(bits, 11)? != EXTENSION_SYNC || read_object_type(bits)? != SPECTRAL_BAND_REPLICATION {
        return Some(None);
    }
    if read(bits, 1)? == 0 {
        return Some(None);
    }
    let has_parametric_stereo = skip_sample_rate(bits)
        .and_then(|()| read(bits, 11))
        .is_some_and(|sync| sync == PARAMETRIC_STEREO_SYNC && read(bits, 1) == Some(1));
    Some(Some(if has_parametric_stereo {
        "HE-AAC v2"
    } else {
        "HE-AAC"
    }))
}

fn read(bits: &mut BitReaderLtr<'_>, count: u32) -> Option<u32> {
    bits.read_bits_leq32(count).ok()
}

fn read_object_type(bits: &mut BitReaderLtr<'_>) -> Option<u32> {
    match read(bits, 5)? {
        31 => Some(32 + read(bits, 6)?),
        number => Some(number),
    }
}

fn skip_sample_rate(bits: &mut BitReaderLtr<'_>) -> Option<()> {
    if read(bits, 4)? == 15 {
        read(bits, 24)?;
    }
    Some(())
}

/// Watches the first packets of a stream for band replication data that no header announces.
#[derive(Debug, Default)]
pub(crate) struct ImplicitWatch {
    seen: u32,
    hits: u32,
}

impl ImplicitWatch {
    /// Packets after which the verdict stands.
    const PACKETS: u32 = 16;
    /// Hits that make it HE-AAC. Band replication data is in every packet of such a stream; chance
    /// makes one packet in some hundred look so.
    const HITS: u32 = 10;

    /// Looks at one raw data block; `true` when the stream is HE-AAC.
    pub(crate) fn is_high_efficiency(&mut self, packet: &[u8]) -> bool {
        if self.seen >= Self::PACKETS {
            return false;
        }
        self.seen += 1;
        self.hits += u32::from(ends_with_band_replication(packet));
        self.hits >= Self::HITS
    }
}

/// Whether a raw data block ends with a fill element of band replication data and the end mark.
///
/// The elements before it can only be passed over by decoding them, so this reads from the end:
/// the last set bit closes the end mark (`111`); a fill element `110 count type ...` must start
/// exactly `count` bytes before it.
fn ends_with_band_replication(packet: &[u8]) -> bool {
    const FILL: u64 = 6;
    const END: u64 = 7;
    let total = packet.len() * 8;
    let Some(last) = packet.last().filter(|&&byte| byte != 0) else {
        return false;
    };
    let end = total - last.trailing_zeros() as usize; // behind the end mark
    if end < 3 + 8 || bits_at(packet, end - 3, 3) != END {
        return false;
    }
    let payload_end = end - 3;
    let is_band_replication = |at: usize| matches!(bits_at(packet, at, 4), 13 | 14);
    let short = (1..15).any(|count| {
        payload_end.checked_sub(count * 8 + 7).is_some_and(|at| {
            bits_at(packet, at, 3) == FILL
                && bits_at(packet, at + 3, 4) == count as u64
                && is_band_replication(at + 7)
        })
    });
    // Longer ones escape the count: 15, then a byte that adds to 14.
    short
        || (15..270).any(|count| {
            payload_end.checked_sub(count * 8 + 15).is_some_and(|at| {
                bits_at(packet, at, 3) == FILL
                    && bits_at(packet, at + 3, 4) == 15
                    && bits_at(packet, at + 7, 8) + 14 == count as u64
                    && is_band_replication(at + 15)
            })
        })
}

/// `count` bits from bit `at`, most significant first; the caller keeps inside the packet.
fn bits_at(packet: &[u8], at: usize, count: usize) -> u64 {
    (at..at + count).fold(0, |value, bit| {
        let byte = packet.get(bit / 8).copied().unwrap_or(0);
        (value << 1) | u64::from((byte >> (7 - bit % 8)) & 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits as text to bytes, zero-filled at the end.
    fn bytes(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits
            .bytes()
            .filter(|b| *b != b' ')
            .map(|b| b - b'0')
            .collect();
        bits.chunks(8)
            .map(|chunk| {
                chunk
                    .iter()
                    .enumerate()
                    .fold(0, |byte, (i, bit)| byte | (bit << (7 - i)))
            })
            .collect()
    }

    #[test]
    fn signalling_in_the_configuration() {
        // object type, rate index, channels, [extension rate, object type], frame/core/extension
        assert_eq!(refused_type(&bytes("00010 0100 0010 000")), None);
        assert_eq!(
            refused_type(&bytes("00101 0111 0010 0100 00010 000")),
            Some("HE-AAC")
        );
        assert_eq!(
            refused_type(&bytes("11101 0111 0001 0100 00010 000")),
            Some("HE-AAC v2")
        );
        assert_eq!(
            refused_type(&bytes("00010 0111 0010 000 01010110111 00101 1 0100")),
            Some("HE-AAC")
        );
        assert_eq!(
            refused_type(&bytes(
                "00010 0111 0001 000 01010110111 00101 1 0100 10101001000 1"
            )),
            Some("HE-AAC v2")
        );
        assert_eq!(
            refused_type(&bytes("00010 0100 0010 000 01010110111 00101 0")),
            None
        );
        assert_eq!(
            refused_type(&bytes("11111 001010 0100 0010 000")),
            Some("xHE-AAC (USAC)")
        );
        assert_eq!(refused_type(&[]), None);
    }

    #[test]
    fn band_replication_at_the_end_of_a_packet() {
        let core = "01000000 10110111 01011010 11111111 0001";
        let fill = "110 0011 1101 0101 11110000 10101010 111";
        assert!(ends_with_band_replication(&bytes(&format!("{core}{fill}"))));
        let other_fill = "110 0011 0000 0101 11110000 10101010 111";
        assert!(!ends_with_band_replication(&bytes(&format!(
            "{core}{other_fill}"
        ))));
        assert!(!ends_with_band_replication(&bytes(&format!("{core}111"))));
        assert!(!ends_with_band_replication(&[]));
        assert!(!ends_with_band_replication(&[0xff]));
    }
}
