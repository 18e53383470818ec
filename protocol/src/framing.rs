//! A message on the wire: its length in four bytes, little-endian, then JSON.

use std::io::{ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ProtocolError;

/// Largest message. The largest honest one names a few thousand recordings.
pub const MOST_BYTES: usize = 4 << 20;

/// Writes a message.
///
/// # Errors
/// When it is too large, or the connection is gone.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), ProtocolError> {
    let text = serde_json::to_vec(message)?;
    if text.len() > MOST_BYTES {
        return Err(ProtocolError::TooLarge {
            bytes: text.len(),
            most: MOST_BYTES,
        });
    }
    let mut framed = Vec::with_capacity(text.len() + 4);
    framed.extend_from_slice(&(text.len() as u32).to_le_bytes());
    framed.extend_from_slice(&text);
    to.write_all(&framed)?;
    to.flush()?;
    Ok(())
}

/// What a wait for a message came to.
#[derive(Debug, PartialEq)]
pub enum Received<T> {
    /// A whole message.
    Message(T),
    /// Nothing whole yet: the connection's timeout passed first.
    NothingYet,
    /// The other end is gone.
    End,
}

/// Reads messages from a connection with a timeout, and keeps what came of one meanwhile.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
}

impl FrameReader {
    /// Waits for the next message until the connection's own timeout.
    ///
    /// # Errors
    /// When it is too large or no message, or the connection breaks.
    pub fn next<T: DeserializeOwned>(
        &mut self,
        from: &mut impl Read,
    ) -> Result<Received<T>, ProtocolError> {
        let mut chunk = [0u8; 16 << 10];
        loop {
            if let Some(message) = self.take_whole()? {
                return Ok(Received::Message(message));
            }
            match from.read(&mut chunk) {
                Ok(0) => return Ok(Received::End),
                Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(Received::NothingYet),
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn take_whole<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ProtocolError> {
        let Some((length, rest)) = self.pending.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > MOST_BYTES {
            return Err(ProtocolError::TooLarge {
                bytes,
                most: MOST_BYTES,
            });
        }
        let Some(text) = rest.get(..bytes) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(text);
        self.pending.drain(..4 + bytes);
        Ok(Some(message?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ToEngine;

    /// Gives a few bytes at a time, and a timeout between them.
    struct Trickle {
        bytes: Vec<u8>,
        at: usize,
        waits: bool,
    }

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.waits = !self.waits;
            if self.waits {
                return Err(ErrorKind::WouldBlock.into());
            }
            let given = (self.bytes.len() - self.at).min(3).min(into.len());
            into[..given].copy_from_slice(&self.bytes[self.at..self.at + given]);
            self.at += given;
            Ok(given)
        }
    }

    #[test]
    fn messages_survive_pieces_and_timeouts() {
        let said = [
            ToEngine::ListBases,
            ToEngine::Cancel { job: u64::MAX },
            ToEngine::Hold {
                keys: vec!["ä\u{0}".to_owned()],
                inputs: vec!["a b.wav".into()],
            },
        ];
        let mut bytes = Vec::new();
        for message in &said {
            write(&mut bytes, message).unwrap();
        }
        let mut from = Trickle {
            bytes,
            at: 0,
            waits: false,
        };
        let mut reader = FrameReader::default();
        let mut heard = Vec::new();
        loop {
            match reader.next::<ToEngine>(&mut from).unwrap() {
                Received::Message(message) => heard.push(message),
                Received::NothingYet => {}
                Received::End => break,
            }
        }
        assert_eq!(heard, said);
    }

    #[test]
    fn a_giant_is_refused_by_its_length_alone() {
        let promised = u32::MAX.to_le_bytes();
        let error = FrameReader::default()
            .next::<ToEngine>(&mut promised.as_slice())
            .unwrap_err();
        assert!(error.to_string().contains("4294967295"), "{error}");
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let message = ToEngine::Hold {
            keys: vec!["x".repeat(MOST_BYTES)],
            inputs: Vec::new(),
        };
        let mut sent = Vec::new();
        assert!(write(&mut sent, &message).is_err());
        assert!(sent.is_empty());
    }
}
