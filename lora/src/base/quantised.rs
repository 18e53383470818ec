//! A released model's weights in four bits, kept on disk: quantised once, read by every later start.
//!
//! One safetensors file for each copy of a model, in `lorelei/quantised` in the system's folder for such things, named by a hash of what it
//! was made of. For each layer it holds the parts of [`FourBit`] as they are, so that what is read is to the last bit what quantising
//! would give. A damaged file counts as missing: it is told, and made anew. Together they take a bounded room: those that were not used for
//! longest go first.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use checkpoint::{ElementType, TensorFile};
use nn::linear::{BlockScales, DoubleScales, NF4_BLOCK};
use nn::{FourBit, FourBitCode, VisitLinears};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

use super::fingerprint;
use crate::error::LoraError;
use crate::hexadecimal::hexadecimal;
use crate::progress::Progress;

/// Counts up when the same weights give other codes, or the file another layout.
const VERSION: u32 = 1;
/// Nobody takes as long to write the file: what is older was left by a program that was killed.
const STALE: Duration = Duration::from_secs(3600);

/// Room of all files together: twenty copies of DiffRhythm's size or more.
const MOST_BYTES: u64 = 8 << 30;

/// Metadata.
const KEY: &str = "lorelei_quantised";
const CHECKSUM: &str = "checksum";
/// Parts of a layer: [`DoubleScales`] and the packed codes.
const PACKED: &str = "packed";
const SCALES: &str = "scales";
const LARGEST: &str = "largest";
const OFFSET: &str = "offset";
/// The tensor of a linear layer that is quantised.
const WEIGHT: &str = "weight";

/// The file for one copy of a model, whether it is there or not.
pub(super) struct QuantisedFile {
    path: PathBuf,
    key: String,
}

impl QuantisedFile {
    /// The file for these tensors, which are in `file`; none where the system has no place for it.
    ///
    /// # Errors
    /// When the tensors cannot be read.
    pub(super) fn of(
        tensors: &TensorFile,
        file: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Option<Self>, LoraError> {
        let Some(cache) = dirs::cache_dir() else {
            return Ok(None);
        };
        let folder = cache.join("lorelei").join("quantised");
        if let Err(error) = std::fs::create_dir_all(&folder) {
            progress.note(&format!(
                "{}: cannot be made ({error}); the model is quantised at every start",
                folder.display()
            ));
            return Ok(None);
        }
        dataset::remove_stale_parts(&folder, STALE);
        Ok(Some(Self::within(&folder, key(tensors, file)?)))
    }

    fn within(folder: &Path, key: String) -> Self {
        let path = folder.join(format!("{key}.safetensors"));
        Self { path, key }
    }

    /// The weights by the names of their tensors in `model`; none if they are to be made, which is told if the file is there.
    pub(super) fn read(
        &self,
        model: &TensorFile,
        progress: &mut dyn Progress,
    ) -> Option<HashMap<String, Arc<FourBit>>> {
        if !self.path.exists() {
            return None;
        }
        let read = self.parse(model);
        // What is used goes last when room is made. A file that cannot be marked only goes earlier.
        let file = std::fs::File::options().append(true).open(&self.path);
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        read.inspect_err(|problem| {
            progress.note(&format!(
                "{}: damaged ({problem}); the model is quantised again",
                self.path.display()
            ));
        })
        .ok()
    }

    fn parse(&self, model: &TensorFile) -> Result<HashMap<String, Arc<FourBit>>, String> {
        let file = TensorFile::open(&self.path).map_err(|error| error.to_string())?;
        if file.metadata().get(KEY) != Some(&self.key) {
            return Err("it belongs to another model".to_owned());
        }
        let mut hash = Sha256::new();
        for name in file.names() {
            let bytes = file.bytes(name).map_err(|error| error.to_string())?;
            add(&mut hash, name, &bytes);
        }
        if file.metadata().get(CHECKSUM) != Some(&hexadecimal(hash.finalize())) {
            return Err("its contents do not match their checksum".to_owned());
        }
        let layers = file.names().filter_map(|name| name.strip_suffix(PACKED));
        let layer = |prefix: &str| {
            let name = format!("{prefix}{WEIGHT}");
            let shape = model.entry(&name).map(|entry| entry.shape.as_slice());
            let shape = shape.ok_or_else(|| format!("{name} is not in the model"))?;
            let weight = layer(&file, prefix, shape.iter().product())?;
            Ok((name, Arc::new(weight)))
        };
        layers.map(layer).collect()
    }

    /// Keeps the weights of a model that was quantised now. A file that cannot be written costs a note, not the model.
    pub(super) fn write(&self, model: &mut dyn VisitLinears, progress: &mut dyn Progress) {
        let mut layers = BTreeMap::new();
        model.visit_linears(&mut |linear| {
            if let Some(weight) = linear.four_bit() {
                layers.insert(linear.name().to_owned(), Arc::clone(weight));
            }
        });
        // On cards there are none.
        if layers.is_empty() {
            return;
        }
        let written = self.write_layers(&layers);
        prune(&self.path, MOST_BYTES);
        if let Err(error) = written {
            progress.note(&format!(
                "{}: cannot be written ({error}); the model is quantised again at the next start",
                self.path.display()
            ));
        }
    }

    fn write_layers(&self, layers: &BTreeMap<String, Arc<FourBit>>) -> io::Result<()> {
        let parts: Vec<Part<'_>> = layers
            .iter()
            .flat_map(|(name, weight)| parts(name, weight))
            .collect();
        let mut sorted: Vec<&Part<'_>> = parts.iter().collect();
        sorted.sort_by(|left, right| left.name.cmp(&right.name));
        let mut hash = Sha256::new();
        for part in sorted {
            add(&mut hash, &part.name, &part.bytes);
        }
        let metadata = HashMap::from([
            (KEY.to_owned(), self.key.clone()),
            (CHECKSUM.to_owned(), hexadecimal(hash.finalize())),
        ]);
        let views = parts
            .iter()
            .map(|part| part.view().map(|view| (part.name.as_str(), view)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        dataset::write_aside_by(&self.path, |path| {
            safetensors::serialize_to_file(views, Some(metadata), path).map_err(io::Error::other)
        })
    }
}

/// Removes files beside `newest`, the oldest first, until all together take at most so many bytes. That one stays costs only room, so that
/// no failure is told; a program that reads it now keeps its mapping.
fn prune(newest: &Path, most_bytes: u64) {
    let entries = newest.parent().map(std::fs::read_dir);
    let entries = entries.into_iter().flatten().flatten().flatten();
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter(|entry| entry.path().extension() == newest.extension())
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, own_bytes, path) in files {
        if bytes <= most_bytes {
            return;
        }
        if path != newest && std::fs::remove_file(&path).is_ok() {
            bytes -= own_bytes;
        }
    }
}

/// A tensor of the file.
struct Part<'a> {
    name: String,
    dtype: Dtype,
    bytes: std::borrow::Cow<'a, [u8]>,
}

impl Part<'_> {
    fn view(&self) -> Result<TensorView<'_>, safetensors::SafeTensorError> {
        let width = self.dtype.bitsize() / 8;
        TensorView::new(self.dtype, vec![self.bytes.len() / width], &self.bytes)
    }
}

fn parts<'a>(layer: &str, weight: &'a FourBit) -> Vec<Part<'a>> {
    let part = |name: &str, dtype, bytes| Part {
        name: format!("{layer}.{name}"),
        dtype,
        bytes,
    };
    let floats = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
        bytes.into()
    };
    // What else there is, is not made here.
    let BlockScales::Double(scales) = weight.scales() else {
        return Vec::new();
    };
    vec![
        part(PACKED, Dtype::U8, weight.packed().into()),
        part(SCALES, Dtype::U8, scales.codes.as_slice().into()),
        part(LARGEST, Dtype::F32, floats(&scales.largest)),
        part(OFFSET, Dtype::F32, floats(&[scales.offset])),
    ]
}

/// The layer whose tensors begin with `prefix`.
fn layer(file: &TensorFile, prefix: &str, count: usize) -> Result<FourBit, String> {
    let bytes = |name: &str, dtype: ElementType| {
        let name = format!("{prefix}{name}");
        match file.entry(&name) {
            Some(entry) if entry.dtype == dtype => file
                .bytes(&name)
                .map(std::borrow::Cow::into_owned)
                .map_err(|error| error.to_string()),
            _ => Err(format!("{name} is missing")),
        }
    };
    let floats = |name: &str| -> Result<Vec<f32>, String> {
        let bytes = bytes(name, ElementType::F32)?;
        let values = bytes.as_chunks().0.iter();
        Ok(values.map(|&bytes| f32::from_le_bytes(bytes)).collect())
    };
    let offset = floats(OFFSET)?;
    let scales = DoubleScales {
        codes: bytes(SCALES, ElementType::U8)?,
        largest: floats(LARGEST)?,
        offset: *offset.first().ok_or("an offset is missing")?,
    };
    let (packed, scales) = (bytes(PACKED, ElementType::U8)?, BlockScales::Double(scales));
    FourBit::from_parts(FourBitCode::Nf4, NF4_BLOCK, count, packed, scales)
        .map_err(|error| error.to_string())
}

fn add(hash: &mut Sha256, name: &str, bytes: &[u8]) {
    // The lengths keep one tensor apart from the next.
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// What the codes follow from. Of a file of gigabytes not all is read: values of each tensor, its length, and when it was written.
fn key(tensors: &TensorFile, file: &Path) -> Result<String, LoraError> {
    let metadata = std::fs::metadata(file).map_err(LoraError::file(file))?;
    let modified = metadata.modified().map_err(LoraError::file(file))?;
    // Before 1970 is no time that matters.
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let copy = fingerprint::of_copy(tensors)?;
    let text = format!(
        "{VERSION} {copy} {} {}",
        tensors.source_bytes(),
        modified.as_nanos()
    );
    Ok(hexadecimal(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use nn::{Linear, WeightPrecision, Weights};

    use super::*;
    use crate::progress::Silent;

    const SHAPES: [(&str, [usize; 2]); 2] = [("a.b", [24, 40]), ("c", [3, 7])];

    /// Two layers, and what keeps them.
    struct Model(Vec<Linear>);

    impl VisitLinears for Model {
        fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
            self.0.iter_mut().for_each(visit);
        }
    }

    fn model_file(folder: &Path, seed: u64) -> PathBuf {
        let path = folder.join(format!("model-{seed}.safetensors"));
        let tensors: HashMap<String, candle_core::Tensor> = SHAPES
            .iter()
            .map(|(name, shape)| {
                let values = nn::Stream::new(seed)
                    .named(name)
                    .normal((shape[0], shape[1]), &Device::Cpu);
                (format!("{name}.weight"), values.unwrap())
            })
            .collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        path
    }

    fn load(tensors: &TensorFile, kept: HashMap<String, Arc<FourBit>>) -> Model {
        let weights = Weights::from_tensor_file(tensors.clone(), &Device::Cpu)
            .in_precision(WeightPrecision::Nf4)
            .with_four_bit(kept);
        let layer = |(name, [outputs, inputs]): (&str, [usize; 2])| {
            Linear::load(&weights.root().pp(name), inputs, outputs, false).unwrap()
        };
        let model = Model(SHAPES.map(layer).into());
        weights.finish().unwrap();
        model
    }

    fn codes(model: &Model) -> Vec<FourBit> {
        let layers = model.0.iter();
        layers
            .map(|layer| layer.four_bit().unwrap().as_ref().clone())
            .collect()
    }

    #[test]
    fn what_is_read_is_to_the_last_bit_what_quantising_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = model_file(folder.path(), 1);
        let tensors = TensorFile::open(&path).unwrap();
        let file = QuantisedFile::within(folder.path(), key(&tensors, &path).unwrap());
        assert!(file.read(&tensors, &mut Silent).is_none());
        let mut fresh = load(&tensors, HashMap::new());
        file.write(&mut fresh, &mut Silent);
        let kept = file.read(&tensors, &mut Silent).unwrap();
        assert_eq!(kept.len(), 2);
        let pointers: Vec<_> = kept.values().map(Arc::as_ptr).collect();
        let again = load(&tensors, kept);
        assert_eq!(codes(&again), codes(&fresh));
        // Not made again beside what was read.
        let used = again.0.iter().map(|layer| layer.four_bit().unwrap());
        assert!(used.map(Arc::as_ptr).all(|it| pointers.contains(&it)));
    }

    #[test]
    fn another_copy_of_a_model_has_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let key_of = |path: &Path| key(&TensorFile::open(path).unwrap(), path).unwrap();
        let (first, second) = (model_file(folder.path(), 1), model_file(folder.path(), 2));
        assert_ne!(key_of(&first), key_of(&second));
        let before = key_of(&first);
        assert_eq!(before, key_of(&first));
        // The same bytes, written later.
        let later = std::fs::File::options().write(true).open(&first).unwrap();
        later
            .set_modified(UNIX_EPOCH + Duration::from_secs(7))
            .unwrap();
        assert_ne!(before, key_of(&first));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path_of = |name: &str| folder.path().join(format!("{name}.safetensors"));
        for (age, name) in ["new", "old", "older", "oldest"].into_iter().enumerate() {
            std::fs::write(path_of(name), [0; 100]).unwrap();
            let file = std::fs::File::options().append(true).open(path_of(name));
            let at = UNIX_EPOCH + Duration::from_secs(1000 - age as u64);
            file.unwrap().set_modified(at).unwrap();
        }
        std::fs::write(folder.path().join("notes.txt"), [0; 1000]).unwrap();
        let left = |most, newest: &str| {
            prune(&path_of(newest), most);
            let names = ["new", "old", "older", "oldest"];
            names.map(|name| path_of(name).exists())
        };
        assert_eq!(left(400, "new"), [true; 4]);
        assert_eq!(left(399, "new"), [true, true, true, false]);
        assert_eq!(left(250, "older"), [true, false, true, false]);
        assert_eq!(left(0, "new"), [true, false, false, false]);
        assert!(folder.path().join("notes.txt").exists());
    }

    #[test]
    fn any_damage_counts_as_missing_and_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = model_file(folder.path(), 1);
        let tensors = TensorFile::open(&path).unwrap();
        let file = QuantisedFile::within(folder.path(), "key".to_owned());
        let mut fresh = load(&tensors, HashMap::new());
        file.write(&mut fresh, &mut Silent);
        let good = std::fs::read(&file.path).unwrap();
        let right = file.parse(&tensors).unwrap();
        for at in (0..good.len()).step_by(5) {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            std::fs::write(&file.path, &bad).unwrap();
            let read = file.parse(&tensors);
            assert!(read.is_err() || read == Ok(right.clone()), "byte {at}");
        }
        for length in [0, 7, good.len() / 2, good.len() - 1] {
            std::fs::write(&file.path, &good[..length]).unwrap();
            assert!(file.parse(&tensors).is_err(), "cut to {length} bytes");
        }
        std::fs::write(&file.path, &good).unwrap();
        let other = QuantisedFile {
            key: "other".to_owned(),
            path: file.path.clone(),
        };
        assert!(other.parse(&tensors).unwrap_err().contains("another model"));
        std::fs::write(&file.path, b"nothing").unwrap();
        file.write(&mut fresh, &mut Silent);
        assert_eq!(file.parse(&tensors), Ok(right));
    }
}
