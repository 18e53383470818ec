//! Helpers for tests: goldens, tolerances, finite differences
