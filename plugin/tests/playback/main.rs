//! The audio thread's work, from outside. Whatever it plays here, an allocation would end the test: see [`support::Host::play_block`].

#![expect(
    clippy::needless_range_loop,
    clippy::unwrap_used,
    reason = "a channel is an index of several arrays, and helpers are tests too"
)]

use assert_no_alloc::AllocDisabler;

mod clips;
mod loops;
mod notes;
mod ready;
mod support;
mod tempo;

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;
