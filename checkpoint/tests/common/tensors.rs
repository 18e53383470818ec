//! What must hold of every file that opens, whatever it holds.

use checkpoint::{CheckpointError, TensorFile};

/// Larger tensors are only looked at.
const READ_MAX_BYTES: usize = 1 << 20;

/// Reads everything of a file that opened; the error of one that did not must say something.
pub(crate) fn look_at(opened: Result<TensorFile, CheckpointError>) {
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("input: ") && text.len() < 2_000, "{text}");
            return;
        }
    };
    for name in file.names() {
        let entry = file.entry(name).expect("a name has an entry");
        let elements = match entry.shape.contains(&0) {
            true => 0,
            false => entry.shape.iter().product(),
        };
        assert_eq!(entry.elements(), elements);
        assert_eq!(entry.byte_length(), elements * entry.dtype.size_bytes());
        assert_eq!(file.mapped(name).is_some(), entry.is_contiguous());
        if entry.byte_length() <= READ_MAX_BYTES {
            let bytes = file.bytes(name).expect("a name has bytes");
            assert_eq!(bytes.len(), entry.byte_length());
        }
    }
    let again = file
        .renamed(|name| Some(format!("again.{name}")))
        .expect("no two names become one");
    assert_eq!(again.names().count(), file.names().count());
    let _ = checkpoint::diffrhythm::weights(&file);
    let _ = format!("{:?} {:?}", file.metadata(), file.other_values());
}
