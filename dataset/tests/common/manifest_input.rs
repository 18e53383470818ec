//! What the fuzz target `manifest` does with an input.

use std::path::{Component, Path};

/// Parses the input: what parses leads nowhere but into its folder, and what does not says where.
pub(crate) fn read(input: &[u8]) {
    match dataset::parse_manifest(input, Path::new("input")) {
        Err(error) => assert!(error.to_string().starts_with("input: ")),
        Ok(pieces) => {
            for piece in &pieces {
                assert!(piece.frames() > 0 && piece.duration_secs() > 0.0);
                let inside = Path::new(&piece.path).components();
                let mut inside = inside.filter(|part| *part != Component::CurDir);
                assert!(inside.all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
