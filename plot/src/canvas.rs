//! The pixels of a picture, with rectangles, anti-aliased lines and text.

use crate::colour::{Colour, WHITE, mix};
use crate::font::TextSize;

/// The widest and highest picture that is drawn, in pixels.
const MAX_SIDE: usize = 16_384;

/// An RGB picture; the origin is the top left corner, `y` grows downwards. Drawing outside is ignored.
#[derive(Debug, Clone)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white canvas; sides are limited to 1..=16,384 pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE));
        Self {
            width,
            height,
            pixels: vec![WHITE[0]; width * height * 3],
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row by row from the top, three bytes each.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The colour at `(x, y)`, if that is inside.
    pub fn pixel(&self, x: usize, y: usize) -> Option<Colour> {
        let index = self.index(x as i64, y as i64)?;
        Some([
            self.pixels[index],
            self.pixels[index + 1],
            self.pixels[index + 2],
        ])
    }

    /// Lays `colour` over the pixel, opaque at weight 1.
    pub fn blend(&mut self, x: i64, y: i64, colour: Colour, weight: f64) {
        if let Some(index) = self.index(x, y) {
            let under = [
                self.pixels[index],
                self.pixels[index + 1],
                self.pixels[index + 2],
            ];
            self.pixels[index..index + 3].copy_from_slice(&mix(under, colour, weight));
        }
    }

    /// Fills a rectangle whose top left corner is `(x, y)`.
    pub fn fill(&mut self, x: i64, y: i64, width: usize, height: usize, colour: Colour) {
        for row in y..y.saturating_add(height as i64) {
            for column in x..x.saturating_add(width as i64) {
                self.blend(column, row, colour, 1.0);
            }
        }
    }

    /// Draws a one-pixel frame just inside the rectangle.
    pub fn frame(&mut self, x: i64, y: i64, width: usize, height: usize, colour: Colour) {
        let (right, bottom) = (x + width as i64 - 1, y + height as i64 - 1);
        self.fill(x, y, width, 1, colour);
        self.fill(x, bottom, width, 1, colour);
        self.fill(x, y, 1, height, colour);
        self.fill(right, y, 1, height, colour);
    }

    /// Draws a line with round ends; each pixel is covered by how far it lies inside the stroke.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), thickness: f64, colour: Colour) {
        if ![from.0, from.1, to.0, to.1]
            .iter()
            .all(|value| value.is_finite())
        {
            return;
        }
        let reach = thickness / 2.0 + 1.0;
        let span = |a: f64, b: f64, side: usize| {
            let low = (a.min(b) - reach).floor().max(0.0) as i64;
            (low, (a.max(b) + reach).ceil().min(side as f64) as i64)
        };
        let ((left, right), (top, bottom)) = (
            span(from.0, to.0, self.width),
            span(from.1, to.1, self.height),
        );
        for y in top..bottom {
            for x in left..right {
                let distance = distance_to_segment((x as f64 + 0.5, y as f64 + 0.5), from, to);
                let cover = thickness / 2.0 + 0.5 - distance;
                if cover > 0.0 {
                    self.blend(x, y, colour, cover.min(1.0));
                }
            }
        }
    }

    /// Writes `text` with its top left corner at `(x, y)`.
    pub fn text(&mut self, x: i64, y: i64, text: &str, size: TextSize, colour: Colour) {
        self.draw_text(text, size, |canvas, along, down, weight| {
            canvas.blend(x + along, y + down, colour, weight);
        });
    }

    /// Writes `text` from bottom to top; `(x, y)` is the corner where its first letter starts (bottom left).
    pub fn text_upwards(&mut self, x: i64, y: i64, text: &str, size: TextSize, colour: Colour) {
        self.draw_text(text, size, |canvas, along, down, weight| {
            canvas.blend(x + down, y - along, colour, weight);
        });
    }

    fn draw_text(
        &mut self,
        text: &str,
        size: TextSize,
        mut put: impl FnMut(&mut Self, i64, i64, f64),
    ) {
        let mut pen = 0;
        for character in text.chars() {
            let Some(glyph) = size.glyph(character) else {
                continue;
            };
            for (down, row) in glyph.rows().enumerate() {
                for (along, &intensity) in row
                    .iter()
                    .enumerate()
                    .filter(|(_, intensity)| **intensity > 0)
                {
                    put(
                        self,
                        pen + along as i64,
                        down as i64,
                        f64::from(intensity) / 255.0,
                    );
                }
            }
            pen += glyph.width() as i64;
        }
    }

    fn index(&self, x: i64, y: i64) -> Option<usize> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.width && y < self.height).then_some((y * self.width + x) * 3)
    }
}

fn distance_to_segment(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length_squared = dx * dx + dy * dy;
    let along =
        ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / length_squared.max(f64::MIN_POSITIVE);
    let along = along.clamp(0.0, 1.0);
    (point.0 - from.0 - along * dx).hypot(point.1 - from.1 - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Colour = [255, 0, 0];

    #[test]
    fn drawing_outside_is_ignored() {
        let mut canvas = Canvas::new(10, 10);
        canvas.fill(-5, -5, 3, 3, RED);
        canvas.text(500, -40, "outside", TextSize::Small, RED);
        canvas.line((-100.0, -100.0), (-50.0, 900.0), 2.0, RED);
        canvas.line((f64::NAN, 0.0), (5.0, 5.0), 2.0, RED);
        assert!(canvas.pixels().iter().all(|&byte| byte == 255));
    }

    #[test]
    fn fill_stays_within_its_rectangle() {
        let mut canvas = Canvas::new(8, 8);
        canvas.fill(2, 3, 2, 1, RED);
        let red = (0..8)
            .flat_map(|y| (0..8).map(move |x| (x, y)))
            .filter(|&(x, y)| canvas.pixel(x, y) == Some(RED));
        assert_eq!(red.collect::<Vec<_>>(), [(2, 3), (3, 3)]);
    }

    #[test]
    fn a_line_covers_its_middle_fully() {
        let mut canvas = Canvas::new(20, 20);
        canvas.line((2.0, 10.5), (18.0, 10.5), 2.0, RED);
        assert_eq!(canvas.pixel(10, 10), Some(RED));
        assert_eq!(canvas.pixel(10, 15), Some(WHITE));
    }

    #[test]
    fn text_leaves_ink_in_both_directions() {
        let mut canvas = Canvas::new(100, 100);
        canvas.text(0, 0, "AB", TextSize::Small, RED);
        let across = canvas.pixels().iter().filter(|&&byte| byte < 128).count();
        let mut upright = Canvas::new(100, 100);
        upright.text_upwards(0, 99, "AB", TextSize::Small, RED);
        assert!(across > 20);
        assert_eq!(
            across,
            upright.pixels().iter().filter(|&&byte| byte < 128).count()
        );
    }
}
