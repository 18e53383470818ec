//! Clips as pictures: waveforms as meshes, spectrograms as textures.

use std::sync::Arc;

use egui::epaint::Mesh;
use egui::{Color32, ColorImage, Context, Painter, Rect, Shape, TextureHandle, TextureOptions};
use egui::{pos2, vec2};

use super::theme;
use crate::session::ClipPicture;

/// Levels from here, in dB below full scale, up to [`TOP_DB`] have a colour.
const FLOOR_DB: f32 = -84.0;
const TOP_DB: f32 = -14.0;
/// A texture is never larger than this, whatever a clip's picture is.
const MOST_SIDE: usize = 2048;

/// Draws one channel, or both in one another's place, around the middle of the rectangle.
pub(crate) fn waveform(
    painter: &Painter,
    rect: Rect,
    picture: &ClipPicture,
    channels: &[usize],
    colour: Color32,
) {
    let columns = picture.waveform.len();
    let steps = (rect.width().ceil() as usize).clamp(1, 4096);
    if columns == 0 || rect.width() < 1.0 {
        return;
    }
    let mut mesh = Mesh::default();
    let half = rect.height() / 2.0;
    for step in 0..=steps {
        let from = (step * columns / (steps + 1)).min(columns - 1);
        let to = ((step + 1) * columns / (steps + 1)).clamp(from + 1, columns);
        let (low, high) = extremes(&picture.waveform[from..to], channels);
        let x = rect.left() + rect.width() * step as f32 / steps as f32;
        // A line of silence is still a line.
        let top = rect.center().y - (high * half).max(0.5);
        let bottom = rect.center().y - (low * half).min(-0.5);
        mesh.colored_vertex(pos2(x, top), colour);
        mesh.colored_vertex(pos2(x, bottom), colour);
        if step > 0 {
            let at = step as u32 * 2;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
}

fn extremes(columns: &[[[f32; 2]; 2]], channels: &[usize]) -> (f32, f32) {
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    for column in columns {
        for channel in channels {
            // `min` and `max` pass over what is no number.
            low = low.min(column[*channel][0]);
            high = high.max(column[*channel][1]);
        }
    }
    (low.max(-1.0), high.min(1.0))
}

/// The spectrogram on the stage, kept as a texture while the same clip is there.
#[derive(Default)]
pub(crate) struct Spectrum {
    kept: Option<(Arc<ClipPicture>, TextureHandle)>,
}

impl Spectrum {
    /// Draws a clip's spectrogram.
    pub(crate) fn paint(
        &mut self,
        painter: &Painter,
        rect: Rect,
        picture: &Arc<ClipPicture>,
        brightness: f32,
    ) {
        let is_kept = |kept: &(Arc<ClipPicture>, TextureHandle)| Arc::ptr_eq(&kept.0, picture);
        if !self.kept.as_ref().is_some_and(is_kept) {
            self.kept = texture(painter.ctx(), picture).map(|made| (Arc::clone(picture), made));
        }
        if let Some((_, texture)) = &self.kept {
            let whole = Rect::from_min_size(pos2(0.0, 0.0), vec2(1.0, 1.0));
            let tint = Color32::WHITE.gamma_multiply(brightness);
            painter.image(texture.id(), rect, whole, tint);
        }
    }

    /// Forgets the texture; its window is gone.
    pub(crate) fn clear(&mut self) {
        self.kept = None;
    }
}

fn texture(context: &Context, picture: &ClipPicture) -> Option<TextureHandle> {
    let columns = &picture.spectrogram;
    let bands = columns.iter().map(Vec::len).max()?.min(MOST_SIDE);
    let width = columns.len().min(MOST_SIDE);
    if bands == 0 {
        return None;
    }
    let pixel = |at: usize| {
        let (x, y) = (at % width, at / width);
        let column = &columns[x * columns.len() / width];
        let level = column.get(bands - 1 - y).copied().unwrap_or(FLOOR_DB);
        theme::level((level - FLOOR_DB) / (TOP_DB - FLOOR_DB))
    };
    let pixels = (0..width * bands).map(pixel).collect();
    let image = ColorImage::new([width, bands], pixels);
    Some(context.load_texture("spectrogram", image, TextureOptions::LINEAR))
}
