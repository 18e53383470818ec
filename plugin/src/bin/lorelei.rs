//! The plugin without a DAW: `cargo run --release -p plugin --features standalone`.

use plugin::instrument::Lorelei;

fn main() {
    nice_plug::nice_export_standalone::<Lorelei>();
}
