//! Clips without and with the adapter, side by side, the latest first.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::html::{address, escaped};
use crate::record::{PreviewRecord, Record};

/// Sound within the page, in bytes of the files; browsers open pages of half as much again without trouble.
const EMBEDDED_BYTES: u64 = 48 << 20;

/// The previews as a table, with its heading.
pub(super) fn section(records: &[Record], folder: &Path, embedded: usize) -> String {
    let previews: Vec<&PreviewRecord> = records
        .iter()
        .rev()
        .filter_map(|record| match record {
            Record::Preview(preview) => Some(preview),
            _ => None,
        })
        .collect();
    if previews.is_empty() {
        return String::new();
    }
    let mut page = Page {
        folder,
        bytes_left: EMBEDDED_BYTES,
    };
    let mut within = 0;
    let mut rows = String::new();
    for (place, preview) in previews.iter().enumerate() {
        // Once one is too large, all earlier ones are linked: so the page can say which are within.
        let sounds = (place == within && place < embedded)
            .then(|| page.embedded(preview))
            .flatten();
        within += usize::from(sounds.is_some());
        rows += &page.row(preview, sounds);
    }
    let about = explanation(previews.len(), within);
    format!("<h2>Previews</h2>\n<p>{about}</p>\n<table class=\"previews\">\n{HEAD}{rows}</table>")
}

const HEAD: &str = concat!(
    "<thead><tr><th>step</th><th>seed</th><th>without adapter</th><th>with adapter</th>",
    "<th>nearest training piece</th><th>similarity</th></tr></thead>\n"
);

fn explanation(all: usize, within: usize) -> String {
    let same = "Both clips of a row are made from the same noise.";
    if within == all {
        return format!("{same} All sounds are within this page.");
    }
    if within == 0 {
        return format!(
            "{same} The sounds are not within this page, but played from their files, which it finds from the folder it lies in."
        );
    }
    format!(
        "{same} The sounds of the latest {within} of {all} previews are within this page; earlier ones are played from their files, which \
         it finds from the folder it lies in."
    )
}

struct Page<'a> {
    folder: &'a Path,
    bytes_left: u64,
}

impl Page<'_> {
    /// Both clips as data addresses, or nothing if they do not fit any more. A clip that cannot be read is told as such.
    fn embedded(&mut self, preview: &PreviewRecord) -> Option<[String; 2]> {
        let paths = clips(preview);
        let sizes = paths.map(|path| std::fs::metadata(self.folder.join(path)));
        let bytes: u64 = sizes.iter().flatten().map(std::fs::Metadata::len).sum();
        self.bytes_left = self.bytes_left.checked_sub(bytes)?;
        Some(paths.map(|path| match std::fs::read(self.folder.join(path)) {
            Ok(wav) => format!(
                "<audio controls preload=\"metadata\" src=\"data:audio/wav;base64,{}\"></audio>",
                STANDARD.encode(wav)
            ),
            Err(_) => missing(path),
        }))
    }

    fn linked(&self, path: &Path) -> String {
        if !self.folder.join(path).is_file() {
            return missing(path);
        }
        let address = escaped(&address(self.folder, path));
        format!("<audio controls preload=\"none\" src=\"{address}\"></audio>")
    }

    fn row(&self, preview: &PreviewRecord, embedded: Option<[String; 2]>) -> String {
        let [without, with] =
            embedded.unwrap_or_else(|| clips(preview).map(|path| self.linked(path)));
        let nearest = preview.nearest_piece.as_deref().unwrap_or("");
        format!(
            "<tr><td>{}</td><td>{}</td><td>{without}</td><td>{with}</td><td>{}</td><td>{}</td></tr>\n",
            preview.step,
            preview.seed,
            escaped(nearest),
            similarity(preview)
        )
    }
}

fn clips(preview: &PreviewRecord) -> [&Path; 2] {
    [&preview.without_adapter, &preview.with_adapter]
}

fn missing(path: &Path) -> String {
    format!("{} is missing", escaped(&path.to_string_lossy()))
}

fn similarity(preview: &PreviewRecord) -> String {
    match (preview.similarity, preview.usual_similarity) {
        (Some(found), Some(usual)) => format!("{found:.3} (usual: {usual:.3})"),
        (Some(found), None) => format!("{found:.3}"),
        (None, _) => String::new(),
    }
}
