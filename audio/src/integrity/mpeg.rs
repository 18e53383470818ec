//! MPEG audio frames, walked by their headers: where the sound starts and ends, and whether the
//! last frame is whole.
//!
//! Sources: ISO/IEC 11172-3 section 2.4.1.3 (header), ISO/IEC 13818-3 (low rates), the Xing and
//! Fraunhofer VBRI tags by common usage, id3.org for tags.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::Fault;

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Version and layer bits and sample rate index: constant over a stream.
    signature: [u8; 2],
    layer: u8,
    frame_bytes: u64,
    side_info_bytes: usize,
}

/// Where the sound lies in the file, and how many frames of it there are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// A Xing, Info or VBRI tag counts the frames (so gapless trimming can be trusted).
    pub(crate) has_count: bool,
    /// 1, 2 or 3.
    pub(crate) layer: u8,
}

/// kbit/s by row (MPEG-1 layers 1 to 3, MPEG-2 layer 1, MPEG-2 layers 2 and 3) and index.
const BITRATES: [[u64; 15]; 5] = [
    [
        0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ],
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Zeros after the last frame are padding up to here. More of them are the space that a download
/// reserved and did not fill.
const MAX_ZERO_PADDING: u64 = 64 << 10;
/// More interruptions than a stream has that was merely joined or tagged.
const MAX_INTERRUPTIONS: usize = 1000;
const SAMPLE_RATES_MPEG1: [u64; 3] = [44_100, 48_000, 32_000];

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let &[b0, b1, b2, b3] = bytes.get(..4)? else {
        return None;
    };
    if b0 != 0xff || b1 & 0xe0 != 0xe0 {
        return None;
    }
    let version = (b1 >> 3) & 3; // 0: 2.5, 2: 2, 3: 1
    let layer = 4 - ((b1 >> 1) & 3);
    let (bitrate_index, rate_index) = (usize::from(b2 >> 4), usize::from((b2 >> 2) & 3));
    if version == 1 || layer == 4 || bitrate_index == 15 || bitrate_index == 0 || rate_index == 3 {
        return None;
    }
    let is_mpeg1 = version == 3;
    let row = match (is_mpeg1, layer) {
        (true, layer) => usize::from(layer) - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let halvings = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let rate_hz = SAMPLE_RATES_MPEG1[rate_index] >> halvings;
    let bits_per_sec = BITRATES[row][bitrate_index] * 1000;
    let padding = u64::from((b2 >> 1) & 1);
    let frame_bytes = match layer {
        1 => (12 * bits_per_sec / rate_hz + padding) * 4,
        3 if !is_mpeg1 => 72 * bits_per_sec / rate_hz + padding,
        _ => 144 * bits_per_sec / rate_hz + padding,
    };
    let is_mono = b3 >> 6 == 3;
    let side_info_bytes = match (is_mpeg1, is_mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    Some(Header {
        signature: [b1 & 0x1e, b2 & 0x0c],
        layer,
        frame_bytes,
        side_info_bytes,
    })
}

/// Offset of the first frame that is followed by another of its kind (or, when `is_all` says
/// that nothing more follows, by the end).
pub(crate) fn find_first_frame(head: &[u8], is_all: bool) -> Option<usize> {
    (0..head.len().saturating_sub(3)).find(|&at| {
        let Some(first) = parse_header(&head[at..]) else {
            return false;
        };
        let next = at + usize::try_from(first.frame_bytes).unwrap_or(usize::MAX - at);
        match head.get(next..next + 4) {
            Some(bytes) => parse_header(bytes).is_some_and(|h| h.signature == first.signature),
            // A single frame, whole or cut off, is only believed at the very start.
            None => is_all && at == 0,
        }
    })
}

/// Position after an ID3v2 tag at the start, or 0.
pub(crate) fn skip_id3v2<R: Read + Seek>(source: &mut R, len: u64) -> io::Result<u64> {
    source.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    source.by_ref().take(10).read_to_end(&mut head)?;
    if head.len() < 10 || !head.starts_with(b"ID3") {
        return Ok(0);
    }
    let size = head[6..10]
        .iter()
        .fold(0, |size, &byte| (size << 7) | u64::from(byte & 0x7f));
    let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
    Ok((10 + size + footer).min(len))
}

/// Walks the frames from `start` in a file of `len` bytes.
pub(crate) fn walk<R: Read + Seek>(
    source: &mut R,
    start: u64,
    len: u64,
) -> io::Result<Result<Extent, Fault>> {
    let mut reader = io::BufReader::with_capacity(1 << 16, source);
    reader.seek(SeekFrom::Start(start))?;
    let mut first = vec![0; 256];
    let got = read_up_to(&mut reader, &mut first)?;
    first.truncate(got);
    let Some(header) = parse_header(&first) else {
        return Ok(Err(Fault::Damaged(
            "no MPEG frame where one was found before".to_owned(),
        )));
    };
    let counted = counted_frames(&first, &header);
    let mut extent = Extent {
        start,
        end: start,
        has_count: counted.is_some(),
        layer: header.layer,
    };
    let mut frames: u64 = 0;
    let mut position = start;
    let mut interruptions = 0;
    reader.seek(SeekFrom::Start(start))?;
    loop {
        let mut bytes = [0; 4];
        let got = read_up_to(&mut reader, &mut bytes)?;
        let Some(frame) = parse_header(&bytes[..got]).filter(|h| h.signature == header.signature)
        else {
            if bytes[..got] == [0; 4] {
                if let Some(fault) = zero_fault(&mut reader, position, len)? {
                    return Ok(Err(fault));
                }
                break;
            }
            if ends_here(&bytes[..got]) {
                break;
            }
            // Junk inside the stream or behind it: the decoder finds its way, or says why not.
            extent.end = len;
            interruptions += 1;
            if interruptions > MAX_INTERRUPTIONS {
                return Ok(Err(Fault::Damaged(format!(
                    "its frames are interrupted in more than {MAX_INTERRUPTIONS} places"
                ))));
            }
            let Some(next) = find_next_frame(&mut reader, position, header.signature)? else {
                break;
            };
            position = next;
            reader.seek(SeekFrom::Start(position))?;
            continue;
        };
        if position + frame.frame_bytes > len {
            return Ok(Err(Fault::Truncated {
                promised: format!("its last frame has {} bytes", frame.frame_bytes),
                found: format!("only {} of them are there", len - position),
            }));
        }
        frames += 1;
        position += frame.frame_bytes;
        if interruptions == 0 {
            extent.end = position;
        }
        reader.seek_relative(i64::try_from(frame.frame_bytes).unwrap_or(4) - 4)?;
    }
    // The tag's own frame is not counted by most encoders, and counted by some.
    let sound_frames = frames - u64::from(extent.has_count).min(frames);
    match counted {
        Some(counted) if sound_frames + 1 < counted => Ok(Err(Fault::Truncated {
            promised: format!("its header promises {counted} frames"),
            found: format!("only {sound_frames} are there"),
        })),
        _ => Ok(Ok(extent)),
    }
}

/// What is wrong with zeros at `position`, where a frame should be: nothing when they are a
/// little padding before the end or a tag.
fn zero_fault<R: Read + Seek>(
    reader: &mut io::BufReader<R>,
    position: u64,
    len: u64,
) -> io::Result<Option<Fault>> {
    reader.seek(SeekFrom::Start(position))?;
    let mut zeros = 0;
    let mut after = [0; 4];
    loop {
        let buffer = reader.fill_buf()?;
        let run = buffer.iter().take_while(|byte| **byte == 0).count();
        let is_through = run < buffer.len() || buffer.is_empty();
        zeros += run as u64;
        reader.consume(run);
        if is_through || zeros > MAX_ZERO_PADDING {
            break;
        }
    }
    let got = read_up_to(reader, &mut after)?;
    let is_padding = zeros <= MAX_ZERO_PADDING && (got == 0 || ends_here(&after[..got]));
    Ok((!is_padding).then(|| Fault::Truncated {
        promised: format!("{} more bytes were to come", len - position),
        found: "there are zeros in their place".to_owned(),
    }))
}

/// The next place after `from` where two frames of this kind follow one another.
fn find_next_frame<R: Read + Seek>(
    reader: &mut R,
    from: u64,
    signature: [u8; 2],
) -> io::Result<Option<u64>> {
    // Longer than any frame, so that its follower is in one of two windows that overlap.
    const OVERLAP: usize = 8 << 10;
    let mut window = vec![0; 8 * OVERLAP];
    let mut start = from + 1;
    loop {
        reader.seek(SeekFrom::Start(start))?;
        let got = read_up_to(reader, &mut window)?;
        let is_kind = |at: usize| {
            let header = parse_header(window[..got].get(at..)?)?;
            (header.signature == signature).then_some(header)
        };
        let found = (0..got.saturating_sub(3)).find(|&at| {
            is_kind(at).is_some_and(|header| {
                let next = usize::try_from(header.frame_bytes).map(|bytes| at + bytes);
                next.is_ok_and(|next| is_kind(next).is_some())
            })
        });
        if let Some(at) = found {
            return Ok(Some(start + at as u64));
        }
        if got < window.len() {
            return Ok(None);
        }
        start += (window.len() - OVERLAP) as u64;
    }
}

/// Frames by the Xing/Info or VBRI tag in the first frame.
fn counted_frames(first: &[u8], header: &Header) -> Option<u64> {
    let number = |at: usize| {
        let bytes: [u8; 4] = first.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_be_bytes(bytes)))
    };
    let tag = 4 + header.side_info_bytes;
    if matches!(first.get(tag..tag + 4), Some(b"Xing" | b"Info")) {
        let has_frames = number(tag + 4)? & 1 == 1;
        return has_frames.then(|| number(tag + 8)).flatten();
    }
    if first.get(36..40) == Some(b"VBRI") {
        return number(36 + 14);
    }
    None
}

/// Whether the bytes after the last frame are the end or a tag.
fn ends_here(bytes: &[u8]) -> bool {
    bytes.len() < 4
        || bytes.starts_with(b"TAG")
        || bytes.starts_with(b"APET")
        || bytes.starts_with(b"LYRI")
        || bytes.starts_with(b"ID3")
        || bytes.starts_with(b"3DI")
}

fn read_up_to<R: Read>(source: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..])? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MPEG-1 layer 3, 128 kbit/s, 44.1 kHz, stereo: 417 bytes.
    fn frame() -> Vec<u8> {
        let mut bytes = vec![0; 417];
        bytes[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        bytes
    }

    fn counted_frame(count: u32) -> Vec<u8> {
        let mut bytes = frame();
        bytes[36..40].copy_from_slice(b"Info");
        bytes[43] = 1;
        bytes[44..48].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    fn extent(bytes: &[u8]) -> Result<Extent, Fault> {
        walk(&mut io::Cursor::new(bytes), 0, bytes.len() as u64).unwrap()
    }

    #[test]
    fn whole_streams_pass_and_tags_are_left_out() {
        let mut bytes = [counted_frame(3), frame(), frame(), frame()].concat();
        let sound = bytes.len() as u64;
        bytes.extend(b"TAG");
        bytes.extend([0; 125]);
        let extent = extent(&bytes).unwrap();
        assert_eq!(
            (extent.end, extent.has_count, extent.layer),
            (sound, true, 3)
        );
    }

    #[test]
    fn a_cut_frame_and_a_missing_frame_are_found() {
        let whole = [
            counted_frame(5),
            frame(),
            frame(),
            frame(),
            frame(),
            frame(),
        ]
        .concat();
        assert!(extent(&whole).is_ok());
        assert!(matches!(
            extent(&whole[..whole.len() - 7]),
            Err(Fault::Truncated { .. })
        ));
        assert!(matches!(
            extent(&whole[..417 * 3]),
            Err(Fault::Truncated { .. })
        ));
    }

    #[test]
    fn a_little_zero_padding_is_harmless_and_a_hole_is_not() {
        let sound = [frame(), frame(), frame()].concat();
        let zeros = |count: usize| vec![0; count];
        let tag = [b"TAG".to_vec(), zeros(125)].concat();
        for tail in [zeros(5), zeros(4096), [zeros(2000), tag.clone()].concat()] {
            let found = extent(&[sound.clone(), tail].concat()).unwrap();
            assert_eq!(found.end, sound.len() as u64);
        }
        let reserved = zeros(MAX_ZERO_PADDING as usize + 1);
        for hole in [
            reserved.clone(),
            [reserved, tag].concat(),
            [zeros(834), sound.clone()].concat(),
        ] {
            assert!(matches!(
                extent(&[sound.clone(), hole].concat()),
                Err(Fault::Truncated { .. })
            ));
        }
    }

    #[test]
    fn frames_are_counted_past_junk() {
        let junk = b"neither a tag nor a frame".to_vec();
        let parts = [
            counted_frame(4),
            frame(),
            junk.clone(),
            frame(),
            frame(),
            frame(),
        ];
        let whole = parts.concat();
        let found = extent(&whole).unwrap();
        assert_eq!(found.end, whole.len() as u64, "the decoder sees all of it");
        let behind = [counted_frame(2), frame(), frame(), junk.clone()].concat();
        assert!(extent(&behind).is_ok());
        let short = [counted_frame(9), frame(), junk, frame(), frame()].concat();
        assert!(matches!(extent(&short), Err(Fault::Truncated { .. })));
    }

    #[test]
    fn text_has_no_frame() {
        assert_eq!(
            find_first_frame(b"no sound in here, not a single frame", true),
            None
        );
        let junk_first = [vec![0; 10], frame(), frame()].concat();
        assert_eq!(find_first_frame(&junk_first, true), Some(10));
    }
}
