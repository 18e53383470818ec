//! PNG files, written aside and renamed so that a half-written picture is never seen under its name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::canvas::Canvas;

/// Why a picture was not written. The cause is the error's source, not part of its text.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The file could not be created, written or renamed.
    #[error("cannot write the picture {}", path.display())]
    Io {
        /// The picture's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The encoder refused.
    #[error("cannot encode the picture {}", path.display())]
    Encode {
        /// The picture's path.
        path: PathBuf,
        /// What the encoder said.
        source: png::EncodingError,
    },
}

/// Writes the canvas as an RGB PNG: first to `NAME.part` beside it, then renamed over `path`.
///
/// # Errors
/// When the file cannot be created, written or renamed; the `.part` file is removed then.
pub fn write_png(path: &Path, canvas: &Canvas) -> Result<(), PlotError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let aside = path.with_file_name(name);
    let written = encode(&aside, canvas).and_then(|()| {
        fs::rename(&aside, path).map_err(|source| PlotError::Io {
            path: path.to_owned(),
            source,
        })
    });
    if written.is_err() {
        // Best effort: the first error is the one worth telling.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn encode(path: &Path, canvas: &Canvas) -> Result<(), PlotError> {
    let io_error = |source| PlotError::Io {
        path: path.to_owned(),
        source,
    };
    let encode_error = |source| PlotError::Encode {
        path: path.to_owned(),
        source,
    };
    let file = File::create(path).map_err(io_error)?;
    let mut buffered = BufWriter::new(&file);
    // Sides are at most 16,384 (see `Canvas::new`), so they fit.
    let mut encoder =
        png::Encoder::new(&mut buffered, canvas.width() as u32, canvas.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(encode_error)?;
    writer
        .write_image_data(canvas.pixels())
        .map_err(encode_error)?;
    writer.finish().map_err(encode_error)?;
    buffered.flush().map_err(io_error)?;
    drop(buffered);
    file.sync_all().map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_nothing_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut canvas = Canvas::new(3, 2);
        canvas.fill(1, 0, 1, 1, [1, 2, 3]);
        write_png(&path, &canvas).unwrap();
        let decoder = png::Decoder::new(io::BufReader::new(File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, canvas.pixels());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error =
            write_png(Path::new("/nonexistent-folder/a.png"), &Canvas::new(2, 2)).unwrap_err();
        assert!(error.to_string().contains("nonexistent-folder"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("os error"), "{cause}");
        assert!(!error.to_string().contains(&cause), "told once: {error}");
    }
}
