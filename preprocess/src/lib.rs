//! From recordings to training pieces: the cut-music command
