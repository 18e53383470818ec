//! Where training starts: the principal components of weighted features, in closed form.

use candle_core::{Device, Tensor};
use faer::Mat;

use crate::error::LoraError;

/// The components as a linear autoencoder.
pub(super) struct Components {
    /// Mean of the features, `[features]`.
    pub(super) mean: Tensor,
    /// Weighted features to latents of variance one, `[channels, features]`.
    pub(super) encoder: Tensor,
    /// Latents to weighted features, `[features, channels]`.
    pub(super) decoder: Tensor,
    /// Share of the weighted variance that the channels hold.
    pub(super) explained: f64,
}

/// Of feature vectors `[vectors, features]` under weights `[features]`.
pub(super) fn of(
    vectors: &Tensor,
    weights: &Tensor,
    channels: usize,
) -> Result<Components, LoraError> {
    let (count, features) = vectors.dims2()?;
    let mean = vectors.mean(0)?;
    let weighted = vectors.broadcast_sub(&mean)?.broadcast_mul(weights)?;
    let covariance = (weighted.t()?.contiguous()?.matmul(&weighted)? / count as f64)?;
    let values = covariance.flatten_all()?.to_vec1::<f32>()?;
    let covariance = Mat::from_fn(features, features, |row, column| {
        f64::from(values[row * features + column])
    });
    let found = covariance
        .self_adjoint_eigen(faer::Side::Lower)
        .map_err(|_| candle_core::Error::Msg("principal components did not converge".to_owned()))?;
    let (variances, directions) = (found.S().column_vector(), found.U());
    // Eigenvalues come in rising order.
    let last_first = |index: usize| features - 1 - index;
    let channels = channels.min(features);
    let deviation = |channel: usize| variances[last_first(channel)].max(1e-12).sqrt();
    let mut encoder = Vec::with_capacity(channels * features);
    for channel in 0..channels {
        let scale = 1.0 / deviation(channel);
        let column = last_first(channel);
        encoder.extend((0..features).map(|row| (directions[(row, column)] * scale) as f32));
    }
    let mut decoder = Vec::with_capacity(channels * features);
    for row in 0..features {
        let value = |channel| directions[(row, last_first(channel))] * deviation(channel);
        decoder.extend((0..channels).map(|channel| value(channel) as f32));
    }
    let held: f64 = (0..channels).map(|c| variances[last_first(c)]).sum();
    let total: f64 = (0..features).map(|index| variances[index]).sum();
    Ok(Components {
        mean,
        encoder: Tensor::from_vec(encoder, (channels, features), &Device::Cpu)?,
        decoder: Tensor::from_vec(decoder, (features, channels), &Device::Cpu)?,
        explained: held / total.max(f64::MIN_POSITIVE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::Stream;

    /// Vectors of two hidden numbers are held by two components, and come back.
    #[test]
    fn as_many_components_as_causes_hold_everything() {
        let random = Stream::new(5);
        let hidden = random
            .named("hidden")
            .normal((400, 2), &Device::Cpu)
            .unwrap();
        let mixing = random.named("mixing").normal((2, 7), &Device::Cpu).unwrap();
        let vectors = (hidden.matmul(&mixing).unwrap() + 3.0).unwrap();
        let weights = Tensor::new(&[1f32, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0], &Device::Cpu).unwrap();
        let found = of(&vectors, &weights, 2).unwrap();
        assert!(found.explained > 0.999, "{}", found.explained);
        let centred = vectors.broadcast_sub(&found.mean).unwrap();
        let weighted = centred.broadcast_mul(&weights).unwrap();
        let latents = weighted.matmul(&found.encoder.t().unwrap()).unwrap();
        let variance = latents
            .sqr()
            .unwrap()
            .mean(0)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(
            variance.iter().all(|value| (value - 1.0).abs() < 1e-2),
            "{variance:?}"
        );
        let again = latents.matmul(&found.decoder.t().unwrap()).unwrap();
        testing::assert_close("features", &again, &weighted, 1e-4);
    }
}
