//! Neural operations with trustworthy gradients on the CPU, strict weight loading, counter-based randomness
