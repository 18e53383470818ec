//! What a prepared folder holds, and how it is read and written safely.
//!
//! | what | where |
//! |---|---|
//! | `manifest.jsonl`, one piece a line | [`Piece`], [`read_manifest`], [`parse_manifest`], [`write_manifest`] |
//! | which songs train, which are held out | [`Split`], [`assign_splits`] |
//! | tags in a `.txt` or `.json` beside a sound | [`read_tags`], [`parse_tags`], [`parse_json_tags`] |
//! | content hashes | [`hash_file`], [`hash_samples`], [`ContentHasher`] |
//! | latents, encoded once per piece | [`LatentCache`] |
//! | files that are complete or absent | [`write_aside`] |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! dataset::write_manifest(folder.path(), &[])?;
//! assert!(dataset::read_manifest(folder.path())?.is_empty());
//! # Ok(())
//! # }
//! ```

mod aside;
mod hash;
mod latent_cache;
mod manifest;
mod sidecar;
mod split;

pub use aside::{remove_stale_parts, sync_folder, write_aside, write_aside_by, write_new_aside};
pub use hash::{ContentHasher, hash_file, hash_samples};
pub use latent_cache::{CachedLatents, LatentCache, LatentCacheError};
pub use manifest::{
    MANIFEST_NAME, MANIFEST_VERSION, ManifestError, Piece, parse_manifest, read_manifest,
    write_manifest,
};
pub use sidecar::{SidecarError, parse_json_tags, parse_tags, read_tags};
pub use split::{Split, assign_splits};
