//! 4-bit weights against bitsandbytes, bit for bit.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use candle_core::{Device, Tensor};
use nn::linear::{BlockScales, DoubleScales};
use nn::{FourBit, FourBitCode, WeightPrecision};
use std::collections::HashMap;
use std::path::Path;

type Tensors = HashMap<String, Tensor>;

fn fixture(name: &str) -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    candle_core::safetensors::load(path.join(name), &Device::Cpu).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_bits(name: &str, found: &[f32], expected: &[f32]) {
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    assert!(
        bits(found) == bits(expected),
        "{name}: {found:?} is not {expected:?}"
    );
}

#[track_caller]
fn assert_double(name: &str, found: &FourBit, codes: &Tensor, largest: &Tensor, offset: &Tensor) {
    let BlockScales::Double(double) = found.scales() else {
        panic!("{name}: not double");
    };
    assert_bits(name, &[double.offset], &floats(offset));
    assert_bits(name, &double.largest, &floats(largest));
    assert_eq!(
        double.codes,
        bytes(codes),
        "{name}: codes of the magnitudes"
    );
}

#[track_caller]
fn assert_plain(name: &str, found: &FourBit, absmax: &Tensor) {
    match found.scales() {
        BlockScales::Plain(scales) => assert_bits(name, scales, &floats(absmax)),
        BlockScales::Double(_) => panic!("{name}: not plain"),
    }
}

#[test]
fn the_golden_case_is_met_bit_for_bit() {
    let golden = fixture("i_nf4/golden.safetensors");
    let weight = floats(&golden["weight"]);
    assert_bits(
        "codes",
        FourBitCode::Nf4.values(),
        &floats(&golden["codebook_bnb"]),
    );
    assert_bits(
        "codes",
        FourBitCode::Fp4.values(),
        &floats(&golden["fp4.code"]),
    );
    assert_bits(
        "8-bit codes",
        DoubleScales::code_values(),
        &floats(&golden["dq.code2"]),
    );
    for (prefix, code, double) in [
        ("", FourBitCode::Nf4, false),
        ("dq.", FourBitCode::Nf4, true),
        ("fp4.", FourBitCode::Fp4, false),
    ] {
        let of = |name: &str| &golden[&format!("{prefix}{name}")];
        let found = FourBit::quantise(&weight, code, 64, double).unwrap();
        assert_eq!(found.packed(), bytes(of("packed")), "{prefix}packed");
        match double {
            false => assert_plain(prefix, &found, of("absmax")),
            true => assert_double(prefix, &found, of("absmax_u8"), of("absmax2"), of("offset")),
        }
        let expected = floats(of("dequant.first_rows"));
        assert_bits(prefix, &found.dequantised()[..expected.len()], &expected);
    }
}

#[test]
fn other_blocks_and_sizes_are_those_of_bitsandbytes() {
    let cases = fixture("four_bit.safetensors");
    let mut compared = 0;
    for (name, weight) in &cases {
        let parts: Vec<&str> = name.split('.').collect();
        let &[number, "weight", block] = parts.as_slice() else {
            continue;
        };
        for (kind, code) in [("nf4", FourBitCode::Nf4), ("fp4", FourBitCode::Fp4)] {
            for (scales, double) in [("plain", false), ("double", true)] {
                let name = format!("{number}.{kind}.{scales}");
                let of = |part: &str| cases.get(&format!("{name}.{part}"));
                let Some(packed) = of("packed") else { continue };
                let block = block.parse().unwrap();
                let found = FourBit::quantise(&floats(weight), code, block, double).unwrap();
                assert_eq!(found.packed(), bytes(packed), "{name}");
                let absmax = of("absmax").unwrap();
                match (of("nested_absmax"), of("offset")) {
                    (Some(largest), Some(offset)) => {
                        assert_double(&name, &found, absmax, largest, offset);
                    }
                    _ => assert_plain(&name, &found, absmax),
                }
                if let Some(expected) = of("dequantised") {
                    assert_bits(&name, &found.dequantised(), &floats(expected));
                }
                compared += 1;
            }
        }
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn parts_that_were_kept_give_the_same_values() {
    for (count, double) in [(1000, false), (1001, true), (0, true)] {
        let values: Vec<f32> = (0..count).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        let made = FourBit::quantise(&values, FourBitCode::Nf4, 64, double).unwrap();
        let parts = (made.packed().to_vec(), made.scales().clone());
        let read = FourBit::from_parts(FourBitCode::Nf4, 64, count, parts.0, parts.1).unwrap();
        assert_bits("kept", &read.dequantised(), &made.dequantised());
    }
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    let quantise = |values: &[f32], block| FourBit::quantise(values, FourBitCode::Nf4, block, true);
    assert!(quantise(&[1.0], 0).is_err());
    assert!(quantise(&[1.0], 33).is_err());
    for bad in [f32::NAN, f32::INFINITY] {
        let error = quantise(&[1.0, bad, 0.5], 64).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
    }
    let scales = BlockScales::Plain(vec![1.0]);
    let error = FourBit::from_parts(FourBitCode::Nf4, 64, 65, vec![0; 33], scales).unwrap_err();
    assert!(error.to_string().contains("65 weights"), "{error}");
}

#[test]
fn a_memory_plan_counts_what_is_kept() {
    let (count, block) = (64 * 1000 + 3, 64);
    let values = vec![0.5; count];
    let made = FourBit::quantise(&values, FourBitCode::Nf4, block, true).unwrap();
    let BlockScales::Double(double) = made.scales() else {
        panic!("not double");
    };
    let kept = made.packed().len() + double.codes.len() + 4 * double.largest.len() + 4;
    assert_eq!(WeightPrecision::Nf4.bytes(count), kept);
    assert!((kept as f64) < 0.517 * count as f64);
}
