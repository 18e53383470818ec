//! The plugin without a DAW: `cargo run --release -p plugin --features standalone`.

use nice_plug::prelude::nice_export_standalone_with_args;
use plugin::instrument::Lorelei;
use plugin::standalone::{self, Server};

fn main() {
    standalone::begin();
    let arguments = standalone::arguments(std::env::args().collect(), server);
    nice_export_standalone_with_args::<Lorelei, _>(arguments);
}

/// The JACK server that is running, if there is one.
fn server() -> Option<Server> {
    let options = jack::ClientOptions::NO_START_SERVER;
    let (client, _) = jack::Client::new("lorelei-looks", options).ok()?;
    Some(Server {
        sample_rate_hz: client.sample_rate(),
        period_frames: client.buffer_size(),
    })
}
