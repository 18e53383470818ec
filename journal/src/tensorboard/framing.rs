//! TFRecord: each message between its length and its checksum, all little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | length of the message |
//! | 4 | masked CRC-32C of these 8 bytes |
//! | length | the message |
//! | 4 | masked CRC-32C of the message |

/// TensorFlow masks checksums, for a checksum of data that hold their own checksum is no good.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The message with its frame.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(message.len() + 16);
    frame.extend(length);
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(message);
    frame.extend(masked_crc(message).to_le_bytes());
    frame
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The messages of a file; panics where its frames or checksums do not hold.
    pub(crate) fn messages_of(mut file: &[u8]) -> Vec<&[u8]> {
        let mut messages = Vec::new();
        while !file.is_empty() {
            let (length, rest) = file.split_at(8);
            let (length_crc, rest) = rest.split_at(4);
            assert_eq!(length_crc, masked_crc(length).to_le_bytes());
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (message, rest) = rest.split_at(length);
            let (message_crc, rest) = rest.split_at(4);
            assert_eq!(message_crc, masked_crc(message).to_le_bytes());
            messages.push(message);
            file = rest;
        }
        messages
    }

    /// RFC 3720, B.4: the CRC-32C of 32 zero bytes. The mask is held against a real file below.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn frames_of_tensorboard_are_read_and_written_again() {
        let real = include_bytes!("../../tests/golden/tensorboard.tfevents");
        let messages = messages_of(real);
        assert_eq!(messages.len(), 6);
        let again: Vec<u8> = messages.into_iter().flat_map(framed).collect();
        assert_eq!(again, real);
    }
}
