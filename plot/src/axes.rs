//! The frame of a plot: a rectangle, two value axes, ticks and labels.

use crate::canvas::Canvas;
use crate::colour::{FAINT_INK, GRID, INK};
use crate::font::TextSize;

/// Length of a tick mark and distance of its label, in pixels.
const TICK: i64 = 5;

/// The rectangle in which data are drawn, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) left: i64,
    pub(crate) top: i64,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Area {
    /// The pixel column at a fraction of the width.
    pub(crate) fn x_at(&self, fraction: f64) -> f64 {
        self.left as f64 + fraction * (self.width as f64 - 1.0)
    }

    /// The pixel row at a fraction of the height, 0 at the bottom.
    pub(crate) fn y_at(&self, fraction: f64) -> f64 {
        self.top as f64 + (1.0 - fraction) * (self.height as f64 - 1.0)
    }

    fn bottom(&self) -> i64 {
        self.top + self.height as i64
    }
}

/// A labelled position along an axis: fraction of its length (0 is left or bottom), and text.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) fraction: f64,
    pub(crate) text: String,
}

pub(crate) fn draw_grid(canvas: &mut Canvas, area: Area, x_marks: &[Mark], y_marks: &[Mark]) {
    for mark in x_marks {
        canvas.fill(
            area.x_at(mark.fraction).round() as i64,
            area.top,
            1,
            area.height,
            GRID,
        );
    }
    for mark in y_marks {
        canvas.fill(
            area.left,
            area.y_at(mark.fraction).round() as i64,
            area.width,
            1,
            GRID,
        );
    }
}

/// Ticks with their labels below the area.
pub(crate) fn draw_x_marks(canvas: &mut Canvas, area: Area, marks: &[Mark]) {
    for mark in marks {
        let x = area.x_at(mark.fraction).round() as i64;
        canvas.fill(x, area.bottom(), 1, TICK as usize, FAINT_INK);
        let width = TextSize::Small.width(&mark.text) as i64;
        canvas.text(
            x - width / 2,
            area.bottom() + TICK + 1,
            &mark.text,
            TextSize::Small,
            INK,
        );
    }
}

/// Ticks with their labels left of the area.
pub(crate) fn draw_y_marks(canvas: &mut Canvas, area: Area, marks: &[Mark]) {
    for mark in marks {
        let y = area.y_at(mark.fraction).round() as i64;
        canvas.fill(area.left - TICK, y, TICK as usize, 1, FAINT_INK);
        let width = TextSize::Small.width(&mark.text) as i64;
        let half = TextSize::Small.height() as i64 / 2;
        canvas.text(
            area.left - TICK - 4 - width,
            y - half,
            &mark.text,
            TextSize::Small,
            INK,
        );
    }
}

/// Ticks with their labels right of the area (colour bars).
pub(crate) fn draw_right_marks(canvas: &mut Canvas, area: Area, marks: &[Mark]) {
    let edge = area.left + area.width as i64;
    for mark in marks {
        let y = area.y_at(mark.fraction).round() as i64;
        canvas.fill(edge, y, TICK as usize, 1, FAINT_INK);
        let half = TextSize::Small.height() as i64 / 2;
        canvas.text(edge + TICK + 4, y - half, &mark.text, TextSize::Small, INK);
    }
}

/// An axis name centred under the tick labels.
pub(crate) fn draw_x_label(canvas: &mut Canvas, area: Area, text: &str) {
    let x = area.left + (area.width as i64 - TextSize::Small.width(text) as i64) / 2;
    let y = area.bottom() + TICK + TextSize::Small.height() as i64 + 5;
    canvas.text(x, y, text, TextSize::Small, INK);
}

/// An axis name running upwards, its left edge at `x`, centred on the area's height.
pub(crate) fn draw_upward_label(canvas: &mut Canvas, area: Area, x: i64, text: &str) {
    let y = area.top + (area.height as i64 + TextSize::Small.width(text) as i64) / 2;
    canvas.text_upwards(x, y, text, TextSize::Small, INK);
}

/// Pixels that tick labels and an axis name need below an area.
pub(crate) fn room_below() -> usize {
    TICK as usize + 2 * TextSize::Small.height() + 12
}

/// Pixels that these tick labels and an upward axis name need beside an area.
pub(crate) fn room_beside(marks: &[Mark]) -> usize {
    let widest = marks
        .iter()
        .map(|mark| TextSize::Small.width(&mark.text))
        .max()
        .unwrap_or(0);
    TICK as usize + 4 + widest + 8 + TextSize::Small.height() + 6
}
