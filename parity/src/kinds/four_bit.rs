//! `i_nf4`: a weight in four bits as bitsandbytes has it, plain, with double quantisation, and in FP4. Codes and values are equal to the
//! last bit; they are made on the CPU for every device.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::{Report, values};
use candle_core::{DType, Device, Tensor};
use nn::linear::{BlockScales, DoubleScales};
use nn::{FourBit, FourBitCode};

/// NumPy computes the codes' values itself, and a product adds up in another order.
const COMPUTED: f64 = 1e-6;
pub(super) const TOLERANCES: &[(&str, f64)] = &[
    ("codes, scales, values", 0.0),
    ("NumPy's codebook, products", COMPUTED),
];
/// Blocks whose magnitudes share a scale, the only number that bitsandbytes has.
const NESTED_BLOCK: usize = 256;

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let block: usize = case.note("/block")?;
    let nested: usize = case.note("/dq_blocksize2")?;
    if nested != NESTED_BLOCK {
        return Err(case.unknown(format!("magnitudes that share a scale by {nested}")));
    }
    let weight = case.input("weight")?;
    let values: Vec<f32> = weight.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let nf4 = |double| FourBit::quantise(&values, FourBitCode::Nf4, block, double);
    let (plain, double) = (nf4(false)?, nf4(true)?);
    codebooks(case, report)?;
    kept(case, report, "", &plain)?;
    kept(case, report, "dq.", &double)?;
    let fp4 = FourBit::quantise(&values, FourBitCode::Fp4, block, false)?;
    kept(case, report, "fp4.", &fp4)?;
    numpy(case, report, &plain)?;
    product(case, report, &plain)?;
    for name in ["int8.q", "int8.scale"] {
        report.skip(
            name,
            "8-bit weights here have a scale for 64 values, not for a row",
        );
    }
    Ok(())
}

fn codebooks(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let nf4 = FourBitCode::Nf4.values().as_slice();
    for (name, codes, allowed) in [
        ("codebook_bnb", nf4, 0.0),
        ("codebook_numpy", nf4, COMPUTED),
        ("fp4.code", FourBitCode::Fp4.values(), 0.0),
        ("dq.code2", DoubleScales::code_values(), 0.0),
    ] {
        if case.has(name) {
            report.compare(name, &Tensor::new(codes, &Device::Cpu)?, allowed)?;
        }
    }
    Ok(())
}

/// Compares what is kept of a weight, and what it is widened to.
fn kept(
    case: &Case,
    report: &mut Report<'_>,
    prefix: &str,
    found: &FourBit,
) -> Result<(), ParityError> {
    let mut compare = |name: &str, values: &[f64]| {
        let name = format!("{prefix}{name}");
        match case.has(&name) {
            true => flat(case, report, &name, values),
            false => Ok(()),
        }
    };
    compare("packed", &bytes(found.packed()))?;
    match found.scales() {
        BlockScales::Plain(scales) => compare("absmax", &floats(scales))?,
        BlockScales::Double(double) => {
            compare("absmax_u8", &bytes(&double.codes))?;
            compare("absmax2", &floats(&double.largest))?;
            compare("offset", &[f64::from(double.offset)])?;
        }
    }
    compare("dequant", &floats(&found.dequantised()))
}

/// The same by NumPy: codes one by one, and their values.
fn numpy(case: &Case, report: &mut Report<'_>, found: &FourBit) -> Result<(), ParityError> {
    if case.has("np.indices") {
        let halves = found
            .packed()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15]);
        let codes: Vec<f64> = halves.take(found.count()).map(f64::from).collect();
        flat(case, report, "np.indices", &codes)?;
    }
    if case.has("np.dequant") {
        flat(case, report, "np.dequant", &floats(&found.dequantised()))?;
    }
    Ok(())
}

fn product(case: &Case, report: &mut Report<'_>, found: &FourBit) -> Result<(), ParityError> {
    if !case.has("x_matmul_dequant") {
        return Ok(());
    }
    let shape = case.input("weight")?.dims2()?;
    let x = case.input("x")?;
    let weight = Tensor::from_vec(found.dequantised(), shape, x.device())?;
    report.compare("x_matmul_dequant", &x.matmul(&weight.t()?)?, COMPUTED)
}

/// Compares numbers with a tensor of any shape.
fn flat(
    case: &Case,
    report: &mut Report<'_>,
    name: &str,
    found: &[f64],
) -> Result<(), ParityError> {
    let expected = case.expected(name)?;
    if values(expected)?.len() == found.len() {
        let found = Tensor::from_slice(found, expected.shape(), &Device::Cpu)?;
        return report.compare(name, &found, 0.0);
    }
    report.compare(name, &Tensor::new(found, &Device::Cpu)?, 0.0)
}

fn bytes(bytes: &[u8]) -> Vec<f64> {
    bytes.iter().map(|&byte| f64::from(byte)).collect()
}

fn floats(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
