//! What several tests need.

use std::path::PathBuf;

use checkpoint::TensorFile;

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Opens a file of `tests/fixtures`.
pub(crate) fn open(name: &str) -> TensorFile {
    TensorFile::open(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// Names, types, shapes and bytes are the same.
#[track_caller]
pub(crate) fn assert_same(actual: &TensorFile, expected: &TensorFile) {
    assert_eq!(
        actual.names().collect::<Vec<_>>(),
        expected.names().collect::<Vec<_>>()
    );
    for name in expected.names() {
        let (a, b) = (actual.entry(name).unwrap(), expected.entry(name).unwrap());
        assert_eq!(
            (a.dtype, &a.shape, a.byte_length()),
            (b.dtype, &b.shape, b.byte_length()),
            "{name}"
        );
        assert_eq!(
            actual.bytes(name).unwrap(),
            expected.bytes(name).unwrap(),
            "{name}"
        );
    }
}
