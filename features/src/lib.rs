//! What is measured about sound: log-mel spectrograms, feature vectors, distances with confidence intervals
