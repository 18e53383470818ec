//! Line charts: series of points over a shared axis.

use std::path::Path;

use crate::axes::{
    Area, Mark, draw_grid, draw_upward_label, draw_x_label, draw_x_marks, draw_y_marks,
};
use crate::axes::{room_below, room_beside};
use crate::canvas::Canvas;
use crate::colour::{Colour, FAINT_INK, INK, WHITE, mix, series_colour};
use crate::encode::{PlotError, write_png};
use crate::font::TextSize;
use crate::ticks;

mod svg;

const DEFAULT_WIDTH: usize = 1000;
const DEFAULT_HEIGHT: usize = 560;
const MARGIN: usize = 18;
const LEGEND_LINE: i64 = 22;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stroke {
    /// A line through the points.
    #[default]
    Line,
    /// A pale thin line: raw values behind a smoothed series.
    Faint,
    /// A line with a dot at each point: few, separate measurements.
    Dotted,
}

/// A named sequence of `(x, y)` points; a point that is not finite interrupts the line.
#[derive(Debug, Clone)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    stroke: Stroke,
    colour: Option<Colour>,
}

impl Series {
    /// A series drawn as a plain line in the palette's next colour.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            stroke: Stroke::default(),
            colour: None,
        }
    }

    /// Changes how the line is drawn.
    #[must_use]
    pub fn stroke(mut self, stroke: Stroke) -> Self {
        self.stroke = stroke;
        self
    }

    /// Sets the colour instead of the palette's next.
    #[must_use]
    pub fn colour(mut self, colour: Colour) -> Self {
        self.colour = Some(colour);
        self
    }
}

/// A chart of one or more [`Series`] with labelled axes, a legend and optional vertical markers.
#[derive(Debug, Clone)]
pub struct LineChart {
    title: String,
    x_label: String,
    y_label: String,
    series: Vec<Series>,
    markers: Vec<(f64, String)>,
    logarithmic: bool,
    size: (usize, usize),
}

impl LineChart {
    /// An empty chart of 1000 by 560 pixels.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            series: Vec::new(),
            markers: Vec::new(),
            logarithmic: false,
            size: (DEFAULT_WIDTH, DEFAULT_HEIGHT),
        }
    }

    /// Names the horizontal axis, with its unit.
    #[must_use]
    pub fn x_label(mut self, text: impl Into<String>) -> Self {
        self.x_label = text.into();
        self
    }

    /// Names the vertical axis, with its unit.
    #[must_use]
    pub fn y_label(mut self, text: impl Into<String>) -> Self {
        self.y_label = text.into();
        self
    }

    /// Adds a series; later series are drawn over earlier ones.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a vertical line at `x` with a label, e.g. the best epoch.
    #[must_use]
    pub fn marker(mut self, x: f64, text: impl Into<String>) -> Self {
        self.markers.push((x, text.into()));
        self
    }

    /// Draws the vertical axis logarithmically; values of zero or less are left out.
    #[must_use]
    pub fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    /// Sets the picture's size in pixels (at least 240 by 180).
    #[must_use]
    pub fn size(mut self, width: usize, height: usize) -> Self {
        self.size = (width.max(240), height.max(180));
        self
    }

    /// Draws the chart and writes it as PNG; [`LineChart::svg`] is for pages.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PlotError> {
        write_png(path, &self.draw())
    }

    /// Draws the chart.
    pub fn draw(&self) -> Canvas {
        let mut canvas = Canvas::new(self.size.0, self.size.1);
        let scale = Scale::of(self);
        let (x_marks, y_marks) = (scale.x_marks(), scale.y_marks());
        let area = self.area(&canvas, room_beside(&y_marks));
        canvas.text(
            area.left,
            MARGIN as i64 - 4,
            &self.title,
            TextSize::Large,
            INK,
        );
        draw_grid(&mut canvas, area, &x_marks, &y_marks);
        self.draw_markers(&mut canvas, area, &scale);
        for (index, series) in self.series.iter().enumerate() {
            draw_series(&mut canvas, area, &scale, series, self.colour_of(index));
        }
        canvas.frame(area.left, area.top, area.width, area.height, FAINT_INK);
        draw_x_marks(&mut canvas, area, &x_marks);
        draw_y_marks(&mut canvas, area, &y_marks);
        draw_x_label(&mut canvas, area, &self.x_label);
        draw_upward_label(&mut canvas, area, 8, &self.y_label);
        self.draw_legend(&mut canvas, area);
        canvas
    }

    fn area(&self, canvas: &Canvas, beside: usize) -> Area {
        let top = MARGIN + TextSize::Large.height() + 8;
        Area {
            left: beside as i64,
            top: top as i64,
            width: canvas.width().saturating_sub(beside + MARGIN).max(1),
            height: canvas.height().saturating_sub(top + room_below()).max(1),
        }
    }

    /// The series' own colour, or the palette's.
    fn colour_of(&self, index: usize) -> Colour {
        self.series[index]
            .colour
            .unwrap_or_else(|| series_colour(self.palette_place(index)))
    }

    /// How many colours series before this one have taken; a faint series shares the colour of the series after it.
    fn palette_place(&self, index: usize) -> usize {
        let faint_before = self.series[..index]
            .iter()
            .filter(|series| series.stroke == Stroke::Faint)
            .count();
        index - faint_before
    }

    fn draw_markers(&self, canvas: &mut Canvas, area: Area, scale: &Scale) {
        for (x, text) in &self.markers {
            let fraction = scale.x_fraction(*x);
            if !(0.0..=1.0).contains(&fraction) {
                continue;
            }
            let column = area.x_at(fraction).round() as i64;
            for row in (0..area.height as i64).step_by(8) {
                canvas.fill(column, area.top + row, 1, 4, FAINT_INK);
            }
            let width = TextSize::Small.width(text) as i64;
            let start = if fraction > 0.5 {
                column - width - 6
            } else {
                column + 6
            };
            let row = area.top + area.height as i64 - TextSize::Small.height() as i64 - 6;
            canvas.text(start, row, text, TextSize::Small, FAINT_INK);
        }
    }

    fn draw_legend(&self, canvas: &mut Canvas, area: Area) {
        let named: Vec<usize> = (0..self.series.len())
            .filter(|&i| !self.series[i].name.is_empty())
            .collect();
        let widest = named
            .iter()
            .map(|&i| TextSize::Small.width(&self.series[i].name))
            .max();
        let Some(widest) = widest else { return };
        let (width, height) = (widest + 50, named.len() * LEGEND_LINE as usize + 8);
        let (x, y) = (
            area.left + area.width as i64 - width as i64 - 10,
            area.top + 10,
        );
        canvas.fill(x, y, width, height, WHITE);
        canvas.frame(x, y, width, height, [208, 208, 214]);
        for (line, &index) in named.iter().enumerate() {
            let row = y + 4 + line as i64 * LEGEND_LINE;
            let middle = (row + LEGEND_LINE / 2) as f64;
            let (colour, thickness) = ink_of(&self.series[index], self.colour_of(index));
            canvas.line(
                ((x + 10) as f64, middle),
                ((x + 32) as f64, middle),
                thickness,
                colour,
            );
            canvas.text(
                x + 41,
                row + 3,
                &self.series[index].name,
                TextSize::Small,
                INK,
            );
        }
    }
}

fn ink_of(series: &Series, colour: Colour) -> (Colour, f64) {
    match series.stroke {
        Stroke::Faint => (mix(WHITE, colour, 0.35), 1.2),
        Stroke::Line | Stroke::Dotted => (colour, 2.2),
    }
}

fn draw_series(canvas: &mut Canvas, area: Area, scale: &Scale, series: &Series, colour: Colour) {
    let (colour, thickness) = ink_of(series, colour);
    let places = places_of(series, area, scale);
    for pair in places.windows(2) {
        if let [Some(from), Some(to)] = pair {
            canvas.line(*from, *to, thickness, colour);
        }
    }
    for (index, place) in places.iter().enumerate() {
        let dotted = series.stroke == Stroke::Dotted || stands_alone(&places, index);
        if let Some(place) = place.filter(|_| dotted) {
            canvas.line(place, place, 6.5, colour);
        }
    }
}

/// Where the points lie in the picture; `None` interrupts the line.
fn places_of(series: &Series, area: Area, scale: &Scale) -> Vec<Option<(f64, f64)>> {
    let place = |point: &(f64, f64)| {
        let (x, y) = (scale.x_fraction(point.0), scale.y_fraction(point.1));
        (x.is_finite() && y.is_finite()).then(|| (area.x_at(x), area.y_at(y)))
    };
    series.points.iter().map(place).collect()
}

/// Whether no line would show this point.
fn stands_alone(places: &[Option<(f64, f64)>], index: usize) -> bool {
    let empty = |neighbour: Option<usize>| {
        neighbour
            .and_then(|i| places.get(i))
            .is_none_or(Option::is_none)
    };
    empty(index.checked_sub(1)) && empty(Some(index + 1))
}

/// Maps data to fractions of the axes.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    fn of(chart: &LineChart) -> Self {
        let drawn = |point: &&(f64, f64)| {
            point.0.is_finite() && point.1.is_finite() && (!chart.logarithmic || point.1 > 0.0)
        };
        let points: Vec<&(f64, f64)> = chart
            .series
            .iter()
            .flat_map(|series| &series.points)
            .filter(drawn)
            .collect();
        let y = range(points.iter().map(|point| {
            if chart.logarithmic {
                point.1.log10()
            } else {
                point.1
            }
        }));
        let margin = (y.1 - y.0) * 0.05;
        Self {
            x: range(points.iter().map(|point| point.0)),
            y: (y.0 - margin, y.1 + margin),
            logarithmic: chart.logarithmic,
        }
    }

    fn x_fraction(&self, x: f64) -> f64 {
        (x - self.x.0) / (self.x.1 - self.x.0)
    }

    fn y_fraction(&self, y: f64) -> f64 {
        let y = if self.logarithmic { y.log10() } else { y };
        (y - self.y.0) / (self.y.1 - self.y.0)
    }

    fn x_marks(&self) -> Vec<Mark> {
        marks(&ticks::linear(self.x.0, self.x.1, 8), |x| {
            self.x_fraction(x)
        })
    }

    fn y_marks(&self) -> Vec<Mark> {
        if !self.logarithmic {
            return marks(&ticks::linear(self.y.0, self.y.1, 6), |y| {
                self.y_fraction(y)
            });
        }
        let (low, high) = (10f64.powf(self.y.0), 10f64.powf(self.y.1));
        let values = ticks::logarithmic(low, high);
        // A range within one 1-2-5 step has too few round logarithmic ticks; linear ones read better then.
        let values = if values.len() < 3 {
            ticks::linear(low, high, 6)
        } else {
            values
        };
        let steps = values
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(f64::MAX, f64::min);
        let text = |y: f64| ticks::label(y, steps.min(y));
        values
            .iter()
            .map(|&y| Mark {
                fraction: self.y_fraction(y),
                text: text(y),
            })
            .collect()
    }
}

fn marks(values: &[f64], fraction: impl Fn(f64) -> f64) -> Vec<Mark> {
    let step = values
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(f64::MAX, f64::min);
    values
        .iter()
        .map(|&value| Mark {
            fraction: fraction(value),
            text: ticks::label(value, step),
        })
        .collect()
}

/// Smallest and largest value, widened where they coincide or where there is none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        (0.0, 1.0)
    } else if low == high {
        (low - 0.5, high + 0.5)
    } else {
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(canvas: &Canvas, colour: Colour) -> usize {
        canvas
            .pixels()
            .chunks_exact(3)
            .filter(|pixel| *pixel == colour)
            .count()
    }

    #[test]
    fn empty_and_single_point_charts_draw() {
        let empty = LineChart::new("empty").draw();
        assert_eq!(
            (empty.width(), empty.height()),
            (DEFAULT_WIDTH, DEFAULT_HEIGHT)
        );
        let one = LineChart::new("one")
            .series(Series::new("", vec![(3.0, 4.0)]))
            .draw();
        assert!(count(&one, series_colour(0)) > 10, "a lone point is a dot");
    }

    #[test]
    fn a_gap_interrupts_the_line() {
        let whole: Vec<(f64, f64)> = (0..100).map(|x| (f64::from(x), f64::from(x % 7))).collect();
        let mut broken = whole.clone();
        for point in &mut broken[20..80] {
            point.1 = f64::NAN;
        }
        let draw = |points| {
            count(
                &LineChart::new("").series(Series::new("", points)).draw(),
                series_colour(0),
            )
        };
        let (whole, broken) = (draw(whole), draw(broken));
        assert!(broken > 0 && broken < whole * 2 / 3, "{broken} of {whole}");
    }

    #[test]
    fn logarithmic_leaves_out_what_has_no_logarithm() {
        let points = vec![(0.0, 100.0), (1.0, 0.0), (2.0, -5.0), (3.0, 0.01)];
        let chart = LineChart::new("")
            .logarithmic()
            .series(Series::new("", points));
        let scale = Scale::of(&chart);
        assert!(
            (scale.y_fraction(1.0) - 0.5).abs() < 1e-9,
            "1 lies half way between 0.01 and 100"
        );
        assert!(count(&chart.draw(), series_colour(0)) > 0);
    }
}
