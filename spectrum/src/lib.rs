//! Short-time spectra: STFT and inverse, mel and warped filter banks, phase reconstruction
