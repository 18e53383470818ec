//! The local socket that plugin and engine meet at: a Unix socket in a folder of the user's own, on Windows a named pipe. No network.

use std::io;
use std::time::Duration;

use interprocess::local_socket::traits::{Listener as _, Stream as _};
use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ListenerOptions, Name, ToFsName,
};

use crate::error::ProtocolError;
use crate::places::Places;

pub use interprocess::local_socket::{Listener, Stream};

/// How long a read waits before it looks whether it is to end.
const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a write waits for an end that does not read.
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
    let stream = listener.accept()?;
    set_timeouts(&stream)?;
    Ok(stream)
}

/// Connects to the engine that listens.
///
/// # Errors
/// When none does.
pub fn connect(places: &Places) -> Result<Stream, ProtocolError> {
    let stream = ConnectOptions::new().name(name(places)?).connect_sync()?;
    set_timeouts(&stream)?;
    Ok(stream)
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

fn set_timeouts(stream: &Stream) -> io::Result<()> {
    stream.set_recv_timeout(Some(READ_TIMEOUT))?;
    stream.set_send_timeout(Some(WRITE_TIMEOUT))
}
