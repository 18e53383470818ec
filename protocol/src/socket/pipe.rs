//! A connection by a named pipe of Windows, whose reads end after a while as those of a Unix socket do: pipes have no timeouts of their own, so
//! that it is looked whether something has come before it is read. Written for what the system's documents say, and checked for its types alone.

use std::io::{self, ErrorKind, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::time::Instant;

use interprocess::local_socket::Stream as Pipe;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::READ_TIMEOUT;

/// How often it is looked for something to read.
const LOOK: std::time::Duration = std::time::Duration::from_millis(5);

/// One end of the pipe. Writes wait for as long as the other end takes.
#[derive(Debug)]
pub struct Stream(Pipe);

impl From<Pipe> for Stream {
    fn from(pipe: Pipe) -> Self {
        Self(pipe)
    }
}

impl Stream {
    /// Bytes that can be read without a wait.
    fn bytes_at_hand(&self) -> io::Result<u32> {
        let Pipe::NamedPipe(pipe) = &self.0;
        let handle = pipe.as_handle();
        let mut bytes = 0;
        // SAFETY: the handle is open while it is borrowed; of what can be asked for, only the count is, which is this function's own.
        #[allow(unsafe_code)]
        let answered = unsafe {
            PeekNamedPipe(
                handle.as_raw_handle(),
                std::ptr::null_mut(),
                0,
                std::ptr::null_mut(),
                &mut bytes,
                std::ptr::null_mut(),
            )
        };
        match answered {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(bytes),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + READ_TIMEOUT;
        loop {
            match self.bytes_at_hand() {
                Ok(0) if Instant::now() >= deadline => return Err(ErrorKind::WouldBlock.into()),
                Ok(0) => std::thread::sleep(LOOK),
                Ok(_) => return (&self.0).read(into),
                // The other end is gone.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.0).flush()
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
