//! What the fuzz target `safetensors_header` does with an input.

use super::tensors;

/// Opens the input behind a length that fits or, for an odd first byte, as it is.
pub(crate) fn read(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let bytes = if choice % 2 == 1 {
        rest.to_vec()
    } else {
        // The header ends where the input has a line feed: mutations need not keep a number right.
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
        let data = rest.get(length + 1..).unwrap_or_default();
        [&(length as u64).to_le_bytes(), &rest[..length], data].concat()
    };
    tensors::look_at(checkpoint::TensorFile::from_bytes(bytes, "input"));
}
