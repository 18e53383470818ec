//! The globals that checkpoints of torch need, and no other.

use std::fmt;

use super::StorageType;
use crate::ElementType;

/// A module's member that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Global<'a> {
    /// `torch._utils._rebuild_tensor` and its later versions.
    RebuildTensor(RebuildTensor),
    /// `torch._utils._rebuild_parameter` and the one with a state.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`.
    RebuildFromType,
    Storage(StorageType),
    Dtype(ElementType),
    /// `torch.Tensor`, `torch.nn.Parameter`: types that are only named.
    TensorClass,
    /// `torch.Size` and builders of lists in TorchScript: the value is their argument.
    Identity,
    /// `torch.jit._pickle.restore_type_tag`: the value is the first of two arguments.
    RestoreTypeTag,
    /// `torch.device`: a text.
    Device,
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `collections.defaultdict`, made from the factory of missing values.
    DefaultDict,
    /// `set` and `frozenset`, read as lists.
    Set,
    /// `dict`, `list` and the like where they are only named.
    Builtin(&'a str),
    /// `_codecs.encode`, by which protocol 2 writes bytes.
    Encode,
    NumpyType,
    NumpyScalar,
    /// A class of a TorchScript archive.
    Scripted,
}

/// The versions of one function differ in their last arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RebuildTensor {
    V1,
    V2,
    V3,
}

impl<'a> Global<'a> {
    /// The global of that name, if it is one of those allowed.
    pub(super) fn find(module: &'a str, name: &'a str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor") => Self::RebuildTensor(RebuildTensor::V1),
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor(RebuildTensor::V2),
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTensor(RebuildTensor::V3),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Tensor") => Self::TensorClass,
            ("torch.nn.parameter", "Parameter" | "Buffer") => Self::TensorClass,
            ("torch", "Size") => Self::Identity,
            (
                "torch.jit._pickle",
                "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist",
            ) => Self::Identity,
            ("torch.jit._pickle", "restore_type_tag") => Self::RestoreTypeTag,
            ("torch", "device") => Self::Device,
            ("torch" | "torch.storage", "UntypedStorage") => Self::Storage(StorageType::Untyped),
            ("torch", _) if name.ends_with("Storage") => {
                Self::Storage(StorageType::Typed(ElementType::from_storage(name)?))
            }
            ("torch", _) => Self::Dtype(ElementType::from_torch(name)?),
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "defaultdict") => Self::DefaultDict,
            ("builtins" | "__builtin__", "set" | "frozenset") => Self::Set,
            (
                "builtins" | "__builtin__",
                "dict" | "list" | "tuple" | "int" | "long" | "float" | "bool" | "str",
            ) => Self::Builtin(name),
            ("_codecs", "encode") => Self::Encode,
            ("numpy", "dtype") => Self::NumpyType,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            _ => return None,
        })
    }
}

/// As a setting: `torch.float16`, `dict`.
impl fmt::Display for Global<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dtype(dtype) => write!(formatter, "torch.{dtype}"),
            Self::Builtin(name) => formatter.write_str(name),
            other => write!(formatter, "{other:?}"),
        }
    }
}
