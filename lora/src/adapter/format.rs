//! The layouts of adapter files.

/// A layout that adapters are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterFormat {
    /// One file with PEFT's names and a description in the header.
    Lorelei,
    /// PEFT's folder.
    PeftFolder,
    /// PEFT's names in a file by itself.
    PeftFile,
    /// The original project's `.pt`, transposed.
    Original,
    /// ComfyUI's and kohya's names.
    ComfyUi,
    /// diffusers' names, with PEFT's settings in the header.
    Diffusers,
    /// LyCORIS' names.
    Lycoris,
    /// LoRAW's names, with slashes.
    Loraw,
    /// Stable Audio 3's parametrizations.
    StableAudio3,
}

impl std::fmt::Display for AdapterFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Lorelei => "Lorelei",
            Self::PeftFolder => "PEFT folder",
            Self::PeftFile => "PEFT file",
            Self::Original => "the original project's .pt",
            Self::ComfyUi => "ComfyUI (kohya)",
            Self::Diffusers => "diffusers",
            Self::Lycoris => "LyCORIS",
            Self::Loraw => "LoRAW",
            Self::StableAudio3 => "Stable Audio 3",
        })
    }
}
