//! What files say of their music themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use audio::Decoder;

const FLAC: &[u8] = include_bytes!("fixtures/tone.flac");
/// Of the marker and the block that every FLAC file begins with.
const STREAM_INFO_END: usize = 4 + 4 + 34;
const IS_LAST: u8 = 0x80;

/// The fixture with these Vorbis comments behind its first block.
fn with_comments(comments: &[&str]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut text = |text: &str| {
        block.extend((text.len() as u32).to_le_bytes());
        block.extend(text.as_bytes());
    };
    text("a test");
    let mut entries = Vec::new();
    entries.extend((comments.len() as u32).to_le_bytes());
    for comment in comments {
        entries.extend((comment.len() as u32).to_le_bytes());
        entries.extend(comment.as_bytes());
    }
    block.extend(entries);
    let (first, rest) = FLAC.split_at(STREAM_INFO_END);
    let mut bytes = first.to_vec();
    let was_last = bytes[4] & IS_LAST;
    bytes[4] &= !IS_LAST;
    bytes.push(4 | was_last);
    bytes.extend(&(block.len() as u32).to_be_bytes()[1..]);
    bytes.extend(block);
    bytes.extend(rest);
    bytes
}

fn tags(bytes: Vec<u8>) -> Vec<String> {
    let source = Box::new(std::io::Cursor::new(bytes));
    let decoder = Decoder::from_source(source, Path::new("a.flac")).unwrap();
    decoder.tags().to_vec()
}

#[test]
fn genres_are_tags_and_titles_are_not() {
    let bytes = with_comments(&["TITLE=Song", "GENRE=Folk; Lute, Slow", "BPM=92"]);
    assert_eq!(tags(bytes), ["Folk", "Lute", "Slow", "tempo:92"]);
}

#[test]
fn a_file_without_them_has_none() {
    assert!(tags(with_comments(&[])).is_empty());
}
