//! What several tests need.

use std::path::PathBuf;

use checkpoint::TensorFile;

/// A file of `tests/fixtures`, or one that lies with the crate whose model or adapter it is.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = match name {
        "cfm_model.safetensors" => "../dit/tests/fixtures/dr_dit_full",
        "vae_model.safetensors" => "../vae/tests/fixtures/diffrhythm",
        "model_lora_1234.pt" => "../lora/tests/fixtures/adapters",
        _ => "tests/fixtures",
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(folder).join(name)
}

/// Opens the file that [`fixture`] finds.
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
