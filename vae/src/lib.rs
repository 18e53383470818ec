//! Audio autoencoders behind one interface: Oobleck and the spectral one
