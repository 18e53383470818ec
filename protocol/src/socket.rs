//! The local socket that plugin and engine meet at: a Unix socket in a folder of the user's own, on Windows a named pipe. No network.

#[cfg(windows)]
mod pipe;

use std::io;
use std::time::Duration;

use interprocess::local_socket::traits::Listener as _;
#[cfg(unix)]
use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ListenerOptions, Name, ToFsName,
};

use crate::error::ProtocolError;
use crate::places::Places;

pub use interprocess::local_socket::Listener;
#[cfg(unix)]
pub use interprocess::local_socket::Stream;
#[cfg(windows)]
pub use pipe::Stream;

/// How long a read waits before it looks whether it is to end.
const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a write waits for an end that does not read.
#[cfg(unix)]
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens; a socket that nobody listens at any more is replaced. Whoever calls holds [`Places::lock`].
///
/// # Errors
/// When the folder or the socket cannot be made.
pub fn listen(places: &Places) -> Result<Listener, ProtocolError> {
    places.make_run_folder()?;
    #[cfg(unix)]
    if let Err(error) = std::fs::remove_file(places.socket())
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    Ok(ListenerOptions::new().name(name(places)?).create_sync()?)
}

/// The next one who connects.
///
/// # Errors
/// When it is gone again.
pub fn accept(listener: &Listener) -> Result<Stream, ProtocolError> {
    Ok(with_timeouts(listener.accept()?)?)
}

/// Connects to the engine that listens.
///
/// # Errors
/// When none does.
pub fn connect(places: &Places) -> Result<Stream, ProtocolError> {
    let stream = ConnectOptions::new().name(name(places)?).connect_sync()?;
    Ok(with_timeouts(stream)?)
}

/// Reads wait for as long as it takes from here on; [`hang_up`] ends the wait.
///
/// # Errors
/// When the system refuses.
pub fn read_without_timeout(stream: &Stream) -> io::Result<()> {
    // Elsewhere nothing could end the wait.
    #[cfg(unix)]
    stream.set_recv_timeout(None)?;
    #[cfg(not(unix))]
    let _ = stream;
    Ok(())
}

/// Ends the connection for both sides, though others still hold the stream: who reads from it finds its end at once.
pub fn hang_up(stream: &Stream) {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use std::os::unix::net::UnixStream;
        let Stream::UdSocket(socket) = stream;
        // A connection that is gone already needs no end.
        if let Ok(own) = socket.as_fd().try_clone_to_owned() {
            let _ = UnixStream::from(own).shutdown(std::net::Shutdown::Both);
        }
    }
    #[cfg(not(unix))]
    let _ = stream;
}

fn name(places: &Places) -> io::Result<Name<'static>> {
    #[cfg(unix)]
    let name = places.socket();
    // A pipe has no folder: the user's folder is in its name, and pipes are the user's own by default.
    #[cfg(windows)]
    let name = {
        let name = places.socket().display().to_string();
        format!(r"\\.\pipe\{}", name.replace(['\\', '/', ':'], "-"))
    };
    name.to_fs_name::<GenericFilePath>()
}

#[cfg(unix)]
fn with_timeouts(stream: Stream) -> io::Result<Stream> {
    stream.set_recv_timeout(Some(READ_TIMEOUT))?;
    stream.set_send_timeout(Some(WRITE_TIMEOUT))?;
    Ok(stream)
}

#[cfg(windows)]
fn with_timeouts(pipe: interprocess::local_socket::Stream) -> io::Result<Stream> {
    Ok(pipe.into())
}
