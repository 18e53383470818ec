//! Music the project makes itself: a seeded composer and renderer in several styles
