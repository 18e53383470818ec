//! What the base makes by itself, kept in mind while a style is learned, so that everything else stays as it was (prior preservation, Ruiz
//! et al. 2022, DreamBooth, arXiv:2208.12242).

use super::data::LatentPiece;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::generate::{self, Request};
use crate::progress::{Progress, StopOnly};
use crate::style;

/// Seeds of these clips begin here, far from those that people try.
const FIRST_SEED: u64 = 1 << 40;

/// Latents of `count` clips of the base alone, each asked for with a tag, or with a style of `styles` for a song model. The same base gives
/// the same clips.
///
/// # Errors
/// [`LoraError::Stopped`], and when a clip cannot be made.
pub(super) fn pieces(
    base: &BaseModel,
    count: usize,
    secs: f64,
    styles: &[Vec<f32>],
    progress: &mut dyn Progress,
) -> Result<Vec<LatentPiece>, LoraError> {
    let tags = base.tags().names().len();
    let mut pieces = Vec::with_capacity(count);
    progress.begin("the base's own", count);
    for number in 0..count {
        let own_tags = match tags {
            0 => Vec::new(),
            // Spread over the vocabulary.
            tags => vec![number * tags / count],
        };
        let vector = styles.get(number % styles.len().max(1));
        let style = match base.songs() {
            None => style::of_tags(base, &own_tags, &[])?,
            Some(_) => style::of_vector(base, vector.map(Vec::as_slice), &[])?,
        };
        // Without a beat grid, as the pieces beside which they are learned.
        let request = Request::plain(base, style, secs.min(base.most_secs()));
        let seed = FIRST_SEED + number as u64;
        let mut silent = StopOnly(progress);
        let latents = generate::latents(base, &request, &[seed], &mut silent)?;
        let values = latents.flatten_all()?.to_vec1::<f32>()?;
        let mut piece = LatentPiece::new(
            values,
            base.latent_channels(),
            own_tags,
            format!("prior {number}"),
        );
        piece.conditions.style = vector.cloned();
        pieces.push(piece);
        progress.advance();
    }
    progress.end();
    Ok(pieces)
}
