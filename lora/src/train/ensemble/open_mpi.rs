//! Open MPI's library, opened when `mpirun` started the program: neither building nor running without it needs MPI.
//!
//! Names and types are those of Open MPI's `mpi.h`, whose binary interface has been the same since version 2 (`libmpi.so.40`).

use std::error::Error as _;
use std::ffi::{c_int, c_void};
use std::time::Duration;

use libloading::Library;

/// Communicators, types, operations and requests are pointers to what the library keeps.
type Handle = *mut c_void;

/// The library's file on Linux, and names that other systems or installations have.
const NAMES: [&str; 3] = ["libmpi.so.40", "libmpi.so", "libmpi.dylib"];
/// `MPI_IN_PLACE`.
const IN_PLACE: *const c_void = std::ptr::without_provenance(1);
/// `MPI_COMM_TYPE_SHARED`: processes on one host.
const ON_ONE_HOST: c_int = 0;
/// `MPI_THREAD_FUNNELED`: other threads run, but one alone calls MPI.
const ONE_THREAD_CALLS: c_int = 1;

type Initialise = unsafe extern "C" fn(*mut c_int, *mut *mut *mut i8, c_int, *mut c_int) -> c_int;
type AskNumber = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type Split = unsafe extern "C" fn(Handle, c_int, c_int, Handle, *mut Handle) -> c_int;
type Reduce = unsafe extern "C" fn(*const c_void, Handle, c_int, Handle, Handle, Handle) -> c_int;
type Broadcast = unsafe extern "C" fn(Handle, c_int, Handle, c_int, Handle) -> c_int;
type BeginBarrier = unsafe extern "C" fn(Handle, *mut Handle) -> c_int;
type Test = unsafe extern "C" fn(*mut Handle, *mut c_int, *mut c_void) -> c_int;
type Finalise = unsafe extern "C" fn() -> c_int;
type Abort = unsafe extern "C" fn(Handle, c_int) -> c_int;

/// What is used of the library. Not `Send`: the thread that opened it is the one that may call it.
pub(super) struct OpenMpi {
    world: Handle,
    f32s: Handle,
    f64s: Handle,
    bytes: Handle,
    sum: Handle,
    no_hints: Handle,
    rank: AskNumber,
    size: AskNumber,
    split: Split,
    reduce: Reduce,
    broadcast: Broadcast,
    begin_barrier: BeginBarrier,
    test: Test,
    finalise: Finalise,
    abort: Abort,
}

impl OpenMpi {
    /// Opens the library and joins the processes that were started with this one.
    pub(super) fn open_and_join() -> Result<Self, String> {
        let library = open()?;
        let initialise: Initialise = find(&library, "MPI_Init_thread")?;
        let found = Self {
            world: find(&library, "ompi_mpi_comm_world")?,
            f32s: find(&library, "ompi_mpi_float")?,
            f64s: find(&library, "ompi_mpi_double")?,
            bytes: find(&library, "ompi_mpi_byte")?,
            sum: find(&library, "ompi_mpi_op_sum")?,
            no_hints: find(&library, "ompi_mpi_info_null")?,
            rank: find(&library, "MPI_Comm_rank")?,
            size: find(&library, "MPI_Comm_size")?,
            split: find(&library, "MPI_Comm_split_type")?,
            reduce: find(&library, "MPI_Allreduce")?,
            broadcast: find(&library, "MPI_Bcast")?,
            begin_barrier: find(&library, "MPI_Ibarrier")?,
            test: find(&library, "MPI_Test")?,
            finalise: find(&library, "MPI_Finalize")?,
            abort: find(&library, "MPI_Abort")?,
        };
        // Its functions are called as long as the process lives.
        std::mem::forget(library);
        let mut granted = 0;
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: no arguments are passed on, which MPI allows; `granted` outlives the call, and this is the first call.
        let status = unsafe {
            initialise(
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                ONE_THREAD_CALLS,
                &mut granted,
            )
        };
        check("MPI_Init_thread", status)?;
        match granted >= ONE_THREAD_CALLS {
            true => Ok(found),
            false => Err("its MPI library was built without threads".to_owned()),
        }
    }

    /// This process's number and how many there are.
    pub(super) fn place(&self) -> Result<(usize, usize), String> {
        self.place_in(self.world)
    }

    /// The same among those on this host.
    pub(super) fn place_on_host(&self) -> Result<(usize, usize), String> {
        let mut host = std::ptr::null_mut();
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: world and hints are the library's own objects; `host` outlives the call, which sets it.
        let status = unsafe { (self.split)(self.world, ON_ONE_HOST, 0, self.no_hints, &mut host) };
        check("MPI_Comm_split_type", status)?;
        self.place_in(host)
    }

    fn place_in(&self, processes: Handle) -> Result<(usize, usize), String> {
        let (mut rank, mut size) = (0, 0);
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: `processes` is a communicator of the library; both numbers outlive the calls.
        let statuses = unsafe {
            [
                (self.rank)(processes, &mut rank),
                (self.size)(processes, &mut size),
            ]
        };
        check("MPI_Comm_rank", statuses[0])?;
        check("MPI_Comm_size", statuses[1])?;
        let number = |number: c_int| usize::try_from(number).map_err(|error| error.to_string());
        Ok((number(rank)?, number(size)?))
    }

    pub(super) fn sum_f32(&self, values: &mut [f32]) -> Result<(), String> {
        self.sum_in_place(values.as_mut_ptr().cast(), values.len(), self.f32s)
    }

    pub(super) fn sum_f64(&self, values: &mut [f64]) -> Result<(), String> {
        self.sum_in_place(values.as_mut_ptr().cast(), values.len(), self.f64s)
    }

    /// `values` are `count` numbers of the type, as the two callers above see to.
    fn sum_in_place(&self, values: *mut c_void, count: usize, of: Handle) -> Result<(), String> {
        let count = c_int::try_from(count).map_err(|error| error.to_string())?;
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: the values are exclusively borrowed by the caller and as many of the type as `count` says; the rest are the library's own
        // objects.
        let status = unsafe { (self.reduce)(IN_PLACE, values, count, of, self.sum, self.world) };
        check("MPI_Allreduce", status)
    }

    /// Replaces the bytes by those of process 0, which has as many.
    pub(super) fn broadcast(&self, bytes: &mut [u8]) -> Result<(), String> {
        let count = c_int::try_from(bytes.len()).map_err(|error| error.to_string())?;
        let start = bytes.as_mut_ptr().cast();
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: `bytes` is exclusively borrowed and `count` long; the rest are the library's own objects.
        let status = unsafe { (self.broadcast)(start, count, self.bytes, 0, self.world) };
        check("MPI_Bcast", status)
    }

    /// Waits for the others, asleep between looks: MPI's own waiting takes a whole core.
    pub(super) fn wait_for_all(&self, pause: Duration) -> Result<(), String> {
        let mut request = std::ptr::null_mut();
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: `request` outlives the call, which sets it.
        let status = unsafe { (self.begin_barrier)(self.world, &mut request) };
        check("MPI_Ibarrier", status)?;
        loop {
            let mut done = 0;
            #[expect(unsafe_code, reason = "the library is C")]
            // SAFETY: `request` is the one begun above; a null status asks for none.
            let status = unsafe { (self.test)(&mut request, &mut done, std::ptr::null_mut()) };
            check("MPI_Test", status)?;
            if done != 0 {
                return Ok(());
            }
            std::thread::sleep(pause);
        }
    }

    pub(super) fn leave(&self) -> Result<(), String> {
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: the library was initialised, and the ensemble calls nothing after this.
        let status = unsafe { (self.finalise)() };
        check("MPI_Finalize", status)
    }

    pub(super) fn abort(&self, exit_code: c_int) {
        #[expect(unsafe_code, reason = "the library is C")]
        // SAFETY: may be called at any time after initialising; it ends the process.
        let _ = unsafe { (self.abort)(self.world, exit_code) };
    }
}

fn check(function: &str, status: c_int) -> Result<(), String> {
    match status {
        0 => Ok(()),
        other => Err(format!("{function} failed with MPI's error {other}")),
    }
}

/// The library's own parts look for its symbols among those that all may see.
#[cfg(unix)]
fn open() -> Result<Library, String> {
    use libloading::os::unix::{Library as Opened, RTLD_GLOBAL, RTLD_NOW};
    let mut reason = String::new();
    for name in NAMES {
        #[expect(unsafe_code, reason = "opening a library runs its constructors")]
        // SAFETY: MPI's library is made to be opened by any program; its constructors ask nothing of the caller.
        let opened = unsafe { Opened::open(Some(name), RTLD_NOW | RTLD_GLOBAL) };
        match opened {
            Ok(library) => return Ok(library.into()),
            // The first name is the one to look for; what the system says names it.
            Err(error) if reason.is_empty() => {
                let told = error.source().map(ToString::to_string);
                reason = told.unwrap_or_else(|| format!("{name}: {error}"));
            }
            Err(_) => {}
        }
    }
    Err(format!("MPI's library cannot be opened ({reason})"))
}

#[cfg(not(unix))]
fn open() -> Result<Library, String> {
    Err(format!("{} is opened on Unix only", NAMES[0]))
}

/// The address of a function or object, as a pointer.
fn find<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    #[expect(unsafe_code, reason = "nothing tells a symbol's type")]
    // SAFETY: the types are those of Open MPI's header, of which another MPI lacks the objects' names (`ompi_...`), so that it is refused.
    let symbol = unsafe { library.get::<T>(name) };
    let symbol = symbol.map_err(|_| {
        format!("MPI's library is not Open MPI's, the one that can be used: it has no {name}")
    })?;
    Ok(*symbol)
}
