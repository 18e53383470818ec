//! What `--list-models` prints.

use lora::models::{EMBEDDED_NAME, Hub, KNOWN_MODELS, RemoteFile, STYLE_ENCODER};

/// One block a model: what it is, its files with their licences, and whether they are here.
pub(crate) fn lines(hub: &Hub) -> Vec<String> {
    let mut lines = vec![
        format!("{EMBEDDED_NAME}: clips of any style an adapter teaches; inside the program"),
        "    licence: Apache-2.0; what you make is yours".to_owned(),
    ];
    for known in KNOWN_MODELS {
        lines.push(format!("{}: {}", known.name, known.summary));
        lines.extend([known.transformer, known.autoencoder].map(|file| describe(&file, hub)));
        lines.push(format!("    settings from {}", known.source));
    }
    lines.push(STYLE_ENCODER.summary.to_owned());
    let files = STYLE_ENCODER.files.iter().chain([&STYLE_ENCODER.tokenizer]);
    lines.extend(files.map(|file| describe(file, hub)));
    lines.push(format!("Hugging Face cache: {}", hub.cache().display()));
    lines
}

fn describe(file: &RemoteFile, hub: &Hub) -> String {
    let place = match hub.find(file) {
        Some(path) => format!("here: {}", path.display()),
        None if hub.is_offline() => {
            "not on this machine, and HF_HUB_OFFLINE forbids to fetch it".to_owned()
        }
        None => "not on this machine, fetched when it is needed".to_owned(),
    };
    format!(
        "    {} of {}, about {} MB; licence: {}; {place}",
        file.file, file.repository, file.about_megabytes, file.licence
    )
}
