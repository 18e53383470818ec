//! Every input that the fuzz target of LRC files has collected, again and without the fuzzer.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/lrc_input.rs"]
mod lrc_input;

use std::path::Path;

#[test]
fn the_corpus_of_lrc_files_is_read_without_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/lyrics");
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; where is the corpus?", folder.display()));
    let inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(
        inputs.len() > 20,
        "{}: {} inputs",
        folder.display(),
        inputs.len()
    );
    for path in inputs {
        lrc_input::read(&std::fs::read(path).unwrap());
    }
}

#[test]
fn any_bytes_are_read_without_panic() {
    proptest::proptest!(|(bytes in proptest::collection::vec(0u8.., 0..300))| lrc_input::read(&bytes));
    proptest::proptest!(|(text in r"(\[[0-9:.,x]{0,9}\]|<[0-9:.]{0,8}>|[a-z你 \n\[\]<:]){0,60}")| lrc_input::read(text.as_bytes()));
}
