//! Short-time spectra of plain sample slices: the transform and its inverse, filter banks, phase reconstruction.
//!
//! A spectrogram is stored frame after frame, `[frames, bins]` with `bins = fft_size / 2 + 1`, so that every step that
//! works frame by frame can be shared out over threads. Nothing here depends on the number of threads: each output is
//! computed by one thread in a fixed order.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`Stft`] | transform and inverse | `torch.stft` / `torch.istft` with `center=True` |
//! | [`FilterBank`], [`mel`] | mel bands | `librosa.filters.mel` |
//! | [`WarpedAxis`] | linear, then logarithmic frequency axis | the embedded model's recipe |
//! | [`phase`] | a signal from magnitudes alone | Průša, Balazs, Søndergaard 2017; Perraudin, Balazs, Søndergaard 2013 |
//!
//! ```
//! use spectrum::Stft;
//!
//! let signal: Vec<f32> = (0..4096).map(|n| (n as f32 * 0.05).sin()).collect();
//! let stft = Stft::new(1024, 256)?;
//! let spectrogram = stft.forward(&signal)?;
//! let again = stft.inverse(&spectrogram, signal.len())?;
//! assert!(signal.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5));
//! # Ok::<(), spectrum::SpectrumError>(())
//! ```

mod error;
mod filter_bank;
pub mod mel;
pub mod phase;
mod spectrogram;
mod stft;
mod warped;
mod window;

pub use error::SpectrumError;
pub use filter_bank::FilterBank;
pub use realfft::num_complex::Complex32;
pub use spectrogram::Spectrogram;
pub use stft::{Edge, Stft, StftScratch};
pub use warped::WarpedAxis;
pub use window::hann_periodic;
