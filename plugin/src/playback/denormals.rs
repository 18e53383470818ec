//! Numbers too small to be heard slow a processor down; while this guard lives they count as zero.

/// Puts the processor's mode back when it goes.
pub(super) struct FlushDenormals {
    before: Mode,
}

#[cfg(target_arch = "x86_64")]
type Mode = u32;
/// Flush to zero, and denormals are zero.
#[cfg(target_arch = "x86_64")]
const FLUSH: Mode = 1 << 15 | 1 << 6;

#[cfg(target_arch = "aarch64")]
type Mode = u64;
/// Flush to zero, inputs too.
#[cfg(target_arch = "aarch64")]
const FLUSH: Mode = 1 << 24;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Mode = u32;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FLUSH: Mode = 0;

impl FlushDenormals {
    /// For as long as it is held.
    pub(super) fn begin() -> Self {
        let before = mode();
        set_mode(before | FLUSH);
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        set_mode(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no other way to the control register")]
fn mode() -> Mode {
    let mut mode: Mode = 0;
    // SAFETY: stores the control register of SSE, which every x86_64 has, into a local of its size.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack)) };
    mode
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no other way to the control register")]
fn set_mode(mode: Mode) {
    // SAFETY: loads what was read from the register, with no bit set but those that treat denormals as zero; no exception is unmasked.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack)) };
}

#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "there is no other way to the control register")]
fn mode() -> Mode {
    let mode: Mode;
    // SAFETY: reads the floating-point control register.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack)) };
    mode
}

#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "there is no other way to the control register")]
fn set_mode(mode: Mode) {
    // SAFETY: writes what was read from the register, with no bit set but the one that treats denormals as zero.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) mode, options(nostack)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn mode() -> Mode {
    FLUSH
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_mode(_mode: Mode) {}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn denormals_count_as_zero_for_as_long_as_it_lives() {
        let product = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(product() > 0.0);
        let guard = FlushDenormals::begin();
        assert_eq!(product(), 0.0);
        drop(guard);
        assert!(product() > 0.0);
    }
}
