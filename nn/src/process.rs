//! Settings of the process that training and sampling are faster with.

/// Largest block that glibc's allocator may keep for itself; its own limit on 64-bit machines.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BLOCK_BYTES: libc::c_int = 32 * 1024 * 1024;
/// What the heap grows by: address space, not memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWTH_BYTES: libc::c_int = 512 * 1024 * 1024;
/// Free memory that stays with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_TOTAL_BYTES: libc::c_int = 512 * 1024 * 1024;

/// Makes two settings, if it is called first thing in `main`:
///
/// - Candle keeps its element-wise operations on the calling thread (`CANDLE_NUM_THREADS=1`, unless it is set). Its
///   own pool of threads waits by spinning and competes with the one that every heavy operation here runs on: with two
///   cores a training step took 1.4 to 1.6 times as long.
/// - The allocator keeps freed memory. A training step frees and takes the same large blocks thousands of times, and
///   clearing fresh pages took a sixth of its time.
///
/// Returns whether candle's setting was made or present; it is not when other threads run already, because changing
/// the environment is safe without them only, nor where that cannot be told.
pub fn prepare() -> bool {
    keep_memory();
    keep_candle_on_one_thread()
}

/// Sets the number of threads that heavy operations use: the given one, else that of `RAYON_NUM_THREADS`, else one for
/// each physical core. Two threads on one core share its vector units and gain nothing in matrix products. Does nothing
/// when the threads run already.
pub fn use_threads(threads: Option<usize>) {
    use_threads_beside(threads, 1);
}

/// The same for one of several processes on this machine that share its cores.
pub fn use_threads_beside(threads: Option<usize>, processes: usize) {
    /// A backward pass walks its graph by recursion, on any thread.
    const STACK_BYTES: usize = 256 << 20;
    let count = match threads {
        Some(count) => count,
        // Rayon reads the variable itself.
        None if std::env::var_os("RAYON_NUM_THREADS").is_some() => 0,
        // A process that is bound to some of the cores sees those alone.
        None => (num_cpus::get_physical() / processes.max(1)).clamp(1, num_cpus::get()),
    };
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .stack_size(STACK_BYTES)
        .build_global();
    if built.is_err() {
        tracing::debug!(count, "threads run already");
    }
}

/// The most memory that was resident at any time, in bytes; none where the system does not tell.
pub fn peak_memory_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

fn keep_candle_on_one_thread() -> bool {
    const NAME: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(NAME).is_some() {
        return true;
    }
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return false;
    }
    #[expect(
        unsafe_code,
        reason = "candle reads this setting from the environment alone"
    )]
    // SAFETY: this is the process's only thread, so nothing reads the environment meanwhile.
    unsafe {
        std::env::set_var(NAME, "1");
    }
    true
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_memory() {
    #[expect(unsafe_code, reason = "the allocator's settings are a C function")]
    // SAFETY: mallopt may be called at any time; both numbers are within its limits.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_TOTAL_BYTES);
        libc::mallopt(libc::M_TOP_PAD, GROWTH_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    ask_for_large_pages();
}

/// Has the heap that the allocator takes first in pages of 2 MB: a program's start was half spent on pages of 4 KB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn ask_for_large_pages() {
    const PAGE_BYTES: usize = 2 << 20;
    // The smallest block makes the allocator take the whole of its next growth.
    drop(std::hint::black_box(vec![0u8; 1 << 20]));
    #[expect(
        unsafe_code,
        reason = "the end of the heap and its pages are C functions"
    )]
    // SAFETY: sbrk(0) only asks where the heap ends, and the advice changes no content; on pages that are not the heap's
    // or where large pages are not to be had, the call fails and nothing is changed.
    unsafe {
        let end = libc::sbrk(0) as usize / PAGE_BYTES * PAGE_BYTES;
        let start = (end.saturating_sub(GROWTH_BYTES as usize)).next_multiple_of(PAGE_BYTES);
        libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_memory() {}

#[cfg(test)]
mod tests {
    /// A test runs beside others, so the environment must be left alone.
    #[test]
    fn nothing_is_changed_beside_other_threads() {
        let before = std::env::var_os("CANDLE_NUM_THREADS");
        let other =
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(200)));
        assert_eq!(super::prepare(), before.is_some());
        assert_eq!(std::env::var_os("CANDLE_NUM_THREADS"), before);
        other.join().unwrap();
    }
}
