//! How far each output sees: what exact tiles must overlap by.

use super::OobleckConfig;

/// Dilations of the residual units in every block.
pub(crate) const DILATIONS: [usize; 3] = [1, 3, 9];
/// Kernel of the dilated convolutions and of those at the ends.
pub(crate) const KERNEL: usize = 7;
/// Kernel of the encoder's last convolution.
pub(crate) const LATENT_KERNEL: usize = 3;

/// A convolution along time, as far as positions are concerned.
#[derive(Debug, Clone, Copy)]
enum Step {
    Down {
        kernel: i64,
        stride: i64,
        dilation: i64,
        padding: i64,
    },
    Up {
        kernel: i64,
        stride: i64,
        padding: i64,
    },
}

impl Step {
    /// A convolution that keeps the length.
    fn same(kernel: usize, dilation: usize) -> Self {
        let (kernel, dilation) = (kernel as i64, dilation as i64);
        Self::Down {
            kernel,
            stride: 1,
            dilation,
            padding: (kernel - 1) * dilation / 2,
        }
    }

    /// The inputs on which the outputs `low..=high` depend.
    fn inputs(self, (low, high): (i64, i64)) -> (i64, i64) {
        match self {
            Self::Down {
                kernel,
                stride,
                dilation,
                padding,
            } => (
                low * stride - padding,
                high * stride - padding + (kernel - 1) * dilation,
            ),
            // Input i writes outputs i * stride - padding + 0..kernel.
            Self::Up {
                kernel,
                stride,
                padding,
            } => {
                let first = -(-(low + padding - (kernel - 1))).div_euclid(stride);
                (first, (high + padding).div_euclid(stride))
            }
        }
    }
}

/// Latent frames beyond a tile's ends that the encoder's values inside depend on.
pub(crate) fn encoder_context(config: &OobleckConfig) -> usize {
    let mut steps = encoder_steps(&config.downsampling_ratios);
    steps.push(Step::same(LATENT_KERNEL, 1));
    frames_around(&steps, config.hop())
}

/// The same of the encoder's first convolution and its blocks of these strides, in frames of the last block.
pub(crate) fn encoder_start_context(strides: &[usize]) -> usize {
    frames_around(&encoder_steps(strides), strides.iter().product())
}

fn encoder_steps(strides: &[usize]) -> Vec<Step> {
    let mut steps = vec![Step::same(KERNEL, 1)];
    for &stride in strides {
        steps.extend(DILATIONS.map(|dilation| Step::same(KERNEL, dilation)));
        let stride = stride as i64;
        steps.push(Step::Down {
            kernel: 2 * stride,
            stride,
            dilation: 1,
            padding: (stride + 1) / 2,
        });
    }
    steps
}

/// How many frames of `hop` inputs beyond one frame its value depends on, at the worse end.
fn frames_around(steps: &[Step], hop: usize) -> usize {
    let (low, high) = steps
        .iter()
        .rev()
        .fold((0, 0), |range, step| step.inputs(range));
    let reach = (-low).max(high - (hop as i64 - 1)).max(0);
    (reach as usize).div_ceil(hop)
}

/// Latent frames beyond a tile's ends that the decoder's samples inside depend on.
pub(crate) fn decoder_context(config: &OobleckConfig) -> usize {
    let strides: Vec<usize> = config.downsampling_ratios.iter().rev().copied().collect();
    let mut steps = vec![Step::same(KERNEL, 1)];
    steps.extend(decoder_end_steps(&strides));
    samples_around(&steps, config.hop())
}

/// The same of the decoder's blocks of these strides and its last convolution, in frames before the first block.
pub(crate) fn decoder_end_context(strides: &[usize]) -> usize {
    samples_around(&decoder_end_steps(strides), strides.iter().product())
}

fn decoder_end_steps(strides: &[usize]) -> Vec<Step> {
    let mut steps = Vec::new();
    for &stride in strides {
        let stride = stride as i64;
        steps.push(Step::Up {
            kernel: 2 * stride,
            stride,
            padding: (stride + 1) / 2,
        });
        steps.extend(DILATIONS.map(|dilation| Step::same(KERNEL, dilation)));
    }
    steps.push(Step::same(KERNEL, 1));
    steps
}

/// How many inputs beyond one its `hop` outputs depend on, at the worse end.
fn samples_around(steps: &[Step], hop: usize) -> usize {
    let samples = (0, hop as i64 - 1);
    let (low, high) = steps
        .iter()
        .rev()
        .fold(samples, |range, step| step.inputs(range));
    (-low).max(high).max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_transposed_step() {
        // Stride 2, kernel 4, padding 1: output 0 is written by inputs 0 (tap 1) and -1 (tap 3).
        let step = Step::Up {
            kernel: 4,
            stride: 2,
            padding: 1,
        };
        assert_eq!(step.inputs((0, 0)), (-1, 0));
        assert_eq!(step.inputs((1, 1)), (0, 1));
    }

    #[test]
    fn stable_audio_sees_about_half_a_second() {
        let config = OobleckConfig::default();
        assert!(
            (6..12).contains(&encoder_context(&config)),
            "{}",
            encoder_context(&config)
        );
        assert!(
            (8..14).contains(&decoder_context(&config)),
            "{}",
            decoder_context(&config)
        );
    }
}
