//! numpy's `.npy`.

use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};

use super::Vector;

pub(super) fn parse(bytes: &[u8]) -> Result<Vector, String> {
    let file = NpyFile::new(bytes).map_err(|error| format!("not a whole .npy file: {error}"))?;
    if file.order() != Order::C && file.shape().len() > 1 {
        return Err("it is in Fortran order".to_owned());
    }
    let shape: Vec<usize> = file.shape().iter().map(|&size| size as usize).collect();
    let DType::Plain(kind) = file.dtype() else {
        return Err("its elements are records".to_owned());
    };
    let size = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, size @ (2 | 4 | 8)) => size as usize,
        _ => return Err(format!("its elements are {kind}, expected f2, f4 or f8")),
    };
    // Checked here, because the reader would make room for whatever the header claims.
    let header = bytes.len() - remaining(bytes)?;
    let needed = shape
        .iter()
        .try_fold(size, |product, &length| product.checked_mul(length));
    if needed != Some(bytes.len() - header) {
        return Err(format!(
            "its shape {shape:?} does not fit its {} bytes",
            bytes.len() - header
        ));
    }
    let failed = |error: std::io::Error| format!("not a whole .npy file: {error}");
    let values = match size {
        2 => file
            .into_vec::<half::f16>()
            .map_err(failed)?
            .into_iter()
            .map(f32::from)
            .collect(),
        4 => file.into_vec().map_err(failed)?,
        _ => file
            .into_vec::<f64>()
            .map_err(failed)?
            .into_iter()
            .map(|value| value as f32)
            .collect(),
    };
    Ok(Vector { shape, values })
}

/// Bytes after the header.
fn remaining(mut bytes: &[u8]) -> Result<usize, String> {
    npyz::NpyHeader::from_reader(&mut bytes)
        .map_err(|error| format!("not a whole .npy file: {error}"))?;
    Ok(bytes.len())
}

pub(super) fn serialise(values: &[f32]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut write = || {
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[1, values.len() as u64])
            .writer(&mut bytes)
            .begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    };
    write().map_err(|error: std::io::Error| error.to_string())?;
    Ok(bytes)
}
