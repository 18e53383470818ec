//! What one element of a tensor is, in the names of torch and of safetensors.

use std::fmt;

/// The type of a tensor's elements.
///
/// `Display` gives torch's name without `torch.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each variant is the type that it is named after"
)]
pub enum ElementType {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F8E4M3,
    F8E5M2,
    F8E4M3Fnuz,
    F8E5M2Fnuz,
    F8E8M0,
    F16,
    BF16,
    F32,
    F64,
    /// Two `f16`.
    Complex32,
    /// Two `f32`.
    Complex64,
    /// Two `f64`.
    Complex128,
}

use ElementType as E;

/// What the two formats call a type.
struct Row {
    dtype: E,
    size_bytes: usize,
    torch: &'static str,
    /// None where the format has no such type.
    safetensors: Option<&'static str>,
    /// torch's class of storages; newer types have none of their own.
    storage: Option<&'static str>,
}

const fn row(
    dtype: E,
    size_bytes: usize,
    torch: &'static str,
    safetensors: Option<&'static str>,
    storage: Option<&'static str>,
) -> Row {
    Row {
        dtype,
        size_bytes,
        torch,
        safetensors,
        storage,
    }
}

const TABLE: &[Row] = &[
    row(E::Bool, 1, "bool", Some("BOOL"), Some("BoolStorage")),
    row(E::U8, 1, "uint8", Some("U8"), Some("ByteStorage")),
    row(E::I8, 1, "int8", Some("I8"), Some("CharStorage")),
    row(E::U16, 2, "uint16", Some("U16"), None),
    row(E::I16, 2, "int16", Some("I16"), Some("ShortStorage")),
    row(E::U32, 4, "uint32", Some("U32"), None),
    row(E::I32, 4, "int32", Some("I32"), Some("IntStorage")),
    row(E::U64, 8, "uint64", Some("U64"), None),
    row(E::I64, 8, "int64", Some("I64"), Some("LongStorage")),
    row(E::F8E4M3, 1, "float8_e4m3fn", Some("F8_E4M3"), None),
    row(E::F8E5M2, 1, "float8_e5m2", Some("F8_E5M2"), None),
    row(
        E::F8E4M3Fnuz,
        1,
        "float8_e4m3fnuz",
        Some("F8_E4M3FNUZ"),
        None,
    ),
    row(
        E::F8E5M2Fnuz,
        1,
        "float8_e5m2fnuz",
        Some("F8_E5M2FNUZ"),
        None,
    ),
    row(E::F8E8M0, 1, "float8_e8m0fnu", Some("F8_E8M0"), None),
    row(E::F16, 2, "float16", Some("F16"), Some("HalfStorage")),
    row(
        E::BF16,
        2,
        "bfloat16",
        Some("BF16"),
        Some("BFloat16Storage"),
    ),
    row(E::F32, 4, "float32", Some("F32"), Some("FloatStorage")),
    row(E::F64, 8, "float64", Some("F64"), Some("DoubleStorage")),
    row(
        E::Complex32,
        4,
        "complex32",
        None,
        Some("ComplexHalfStorage"),
    ),
    row(
        E::Complex64,
        8,
        "complex64",
        Some("C64"),
        Some("ComplexFloatStorage"),
    ),
    row(
        E::Complex128,
        16,
        "complex128",
        None,
        Some("ComplexDoubleStorage"),
    ),
];

impl ElementType {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Bytes of one element.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        self.row().size_bytes
    }

    /// The name in a safetensors header, if the format has the type.
    #[must_use]
    pub fn safetensors_name(self) -> Option<&'static str> {
        self.row().safetensors
    }

    /// Whether it is one of `f16`, `bf16`, `f32` and `f64`.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, E::F16 | E::BF16 | E::F32 | E::F64)
    }

    pub(crate) fn from_safetensors(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.safetensors == Some(name))
            .map(|row| row.dtype)
    }

    /// From `torch.NAME`, older aliases included.
    pub(crate) fn from_torch(name: &str) -> Option<Self> {
        let name = match name {
            "half" => "float16",
            "float" => "float32",
            "double" => "float64",
            "short" => "int16",
            "int" => "int32",
            "long" => "int64",
            other => other,
        };
        TABLE
            .iter()
            .find(|row| row.torch == name)
            .map(|row| row.dtype)
    }

    pub(crate) fn from_storage(class: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.storage == Some(class))
            .map(|row| row.dtype)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.row().torch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_types() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.dtype as usize, index);
            assert_eq!(ElementType::from_torch(row.torch), Some(row.dtype));
            if let Some(name) = row.safetensors {
                assert_eq!(ElementType::from_safetensors(name), Some(row.dtype));
            }
        }
    }
}
