//! `*.safetensors.index.json`: which tensor lies in which of several files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::read;
use crate::error::{CheckpointError, Fault, Parsed, damaged, shorten};
use crate::source::Source;
use crate::table::Table;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
    weight_map: BTreeMap<String, String>,
}

/// The files of an index, and all their tensors.
pub(crate) struct Shards {
    pub(crate) sources: Vec<Arc<Source>>,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) table: Table,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Opens every file that an index names.
pub(crate) fn open_shards(index_path: &Path, text: &[u8]) -> Result<Shards, CheckpointError> {
    let origin = index_path.display().to_string();
    let index = parse(text).map_err(|fault| fault.in_file(&origin))?;
    let files: BTreeSet<&String> = index.weight_map.values().collect();
    let mut shards = Shards {
        sources: Vec::new(),
        paths: Vec::new(),
        table: Table::default(),
        metadata: index
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
    };
    for file in files {
        let path = index_path.with_file_name(file);
        let source = Source::map(&path)?;
        let mut table = Table::of_bytes(source.len());
        read(&source, shards.sources.len(), &mut table)
            .and_then(|_| check_names(&index, file, &table))
            .and_then(|()| shards.table.join(table))
            .map_err(|fault| fault.in_file(&path.display().to_string()))?;
        shards.sources.push(Arc::new(source));
        shards.paths.push(path);
    }
    Ok(shards)
}

fn parse(text: &[u8]) -> Parsed<Index> {
    let index: Index = serde_json::from_slice(text).map_err(|error| {
        Fault::NotWeights(format!(
            "JSON, but no index of shards: {}",
            shorten(&error.to_string())
        ))
    })?;
    for file in index.weight_map.values() {
        let mut parts = Path::new(file).components();
        let is_plain = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
        if !is_plain || file.contains('\\') {
            return Err(damaged(format!(
                "the index names the file `{}`, which is not one beside it",
                shorten(file)
            )));
        }
    }
    Ok(index)
}

/// What the index says of a file and what the file holds must be the same.
fn check_names(index: &Index, file: &String, table: &Table) -> Parsed<()> {
    let promised = || {
        index
            .weight_map
            .iter()
            .filter(|(_, holder)| *holder == file)
    };
    if let Some((name, _)) = promised().find(|(name, _)| !table.contains(name)) {
        return Err(damaged(format!(
            "the index promises tensor `{}`, which is not there",
            shorten(name)
        )));
    }
    let unlisted = table
        .names()
        .find(|name| index.weight_map.get(*name) != Some(file));
    match unlisted {
        None => Ok(()),
        Some(name) => Err(damaged(format!(
            "holds tensor `{}`, of which the index does not know",
            shorten(name)
        ))),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}
