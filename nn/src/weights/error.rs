//! What is wrong with weights.

/// What is wrong with a file of weights. Each message names the file, the tensor and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read, or is no whole file of weights.
    #[error(transparent)]
    File(#[from] checkpoint::CheckpointError),
    /// The model needs a tensor that the file lacks.
    #[error(
        "{origin}: tensor {name} is missing{hint}; the file belongs to another model or its configuration differs"
    )]
    Missing {
        /// Path or description of the source.
        origin: String,
        /// Full name of the tensor.
        name: String,
        /// Names in the file that look alike.
        hint: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "{origin}: tensor {name} has shape {actual:?}, expected {expected:?}; check the model's configuration"
    )]
    Shape {
        /// Path or description of the source.
        origin: String,
        /// Full name of the tensor.
        name: String,
        /// Shape the model asked for.
        expected: Vec<usize>,
        /// Shape in the file.
        actual: Vec<usize>,
    },
    /// A tensor is stored in a type that holds no weights.
    #[error(
        "{origin}: tensor {name} is stored as {actual}, expected float32, float16 or bfloat16; convert the file"
    )]
    Type {
        /// Path or description of the source.
        origin: String,
        /// Full name of the tensor.
        name: String,
        /// Type in the file.
        actual: String,
    },
    /// A tensor holds a value that is not a number or infinite.
    #[error(
        "{origin}: tensor {name} holds {value} at element {element}; the file is damaged or its training diverged"
    )]
    NotFinite {
        /// Path or description of the source.
        origin: String,
        /// Full name of the tensor.
        name: String,
        /// The value found.
        value: f32,
        /// Its position, counted over the flattened tensor.
        element: usize,
    },
    /// The file holds tensors that the model does not know.
    #[error(
        "{origin}: {count} unused tensors: {names}; the file belongs to another model or its configuration differs"
    )]
    Unused {
        /// Path or description of the source.
        origin: String,
        /// How many there are.
        count: usize,
        /// The first of them, sorted.
        names: String,
    },
    /// Candle refused the values.
    #[error("{origin}: tensor {name} cannot be used")]
    Tensor {
        /// Path or description of the source.
        origin: String,
        /// Full name of the tensor.
        name: String,
        /// What candle said.
        source: Box<candle_core::Error>,
    },
}
