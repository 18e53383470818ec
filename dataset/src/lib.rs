//! What a prepared folder holds: manifest, split, sidecars, content hashes, latent cache
