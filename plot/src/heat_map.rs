//! Heat maps in a grid, on one colour scale.

use std::path::Path;

use crate::axes::{
    Area, Mark, draw_right_marks, draw_upward_label, draw_x_label, draw_x_marks, draw_y_marks,
};
use crate::axes::{room_below, room_beside};
use crate::canvas::Canvas;
use crate::colour::{FAINT_INK, INK, magma};
use crate::encode::{PlotError, write_png};
use crate::font::TextSize;
use crate::ticks;

const MARGIN: usize = 18;
const GAP: usize = 16;
const BAR_WIDTH: usize = 16;

/// One map of values: `columns` along the horizontal axis, `rows` upwards.
#[derive(Debug, Clone)]
pub struct HeatMap {
    title: String,
    /// `[columns, rows]`: all rows of the first column, bottom to top, then the next column.
    values: Vec<f32>,
    columns: usize,
    rows: usize,
    x_extent: f64,
}

impl HeatMap {
    /// A map of `values` in `[columns, rows]` order (rows from the bottom up) that spans `0..x_extent` units.
    ///
    /// Values missing at the end are drawn grey.
    pub fn new(title: impl Into<String>, mut values: Vec<f32>, rows: usize, x_extent: f64) -> Self {
        let rows = rows.max(1);
        let columns = values.len().div_ceil(rows);
        values.resize(columns * rows, f32::NAN);
        Self {
            title: title.into(),
            values,
            columns,
            rows,
            x_extent,
        }
    }

    /// The largest of the values that one pixel covers; peaks survive when the map is shrunk.
    fn value_in(&self, columns: (f64, f64), rows: (f64, f64)) -> f32 {
        let cells = |range: (f64, f64), count: usize| {
            let first = (range.0 as usize).min(count.saturating_sub(1));
            first..(range.1.ceil() as usize).clamp(first + 1, count.max(first + 1))
        };
        if self.columns == 0 {
            return f32::NAN;
        }
        let rows = cells(rows, self.rows);
        let covered = cells(columns, self.columns).flat_map(|column| {
            rows.clone()
                .map(move |row| self.values[column * self.rows + row])
        });
        covered.fold(f32::NAN, f32::max)
    }
}

/// Columns of heat maps under headings, with shared axes and one colour bar.
#[derive(Debug, Clone)]
pub struct HeatMapGrid {
    title: String,
    x_label: String,
    y_label: String,
    value_label: String,
    range: (f64, f64),
    y_marks: Vec<(f64, String)>,
    columns: Vec<(String, Vec<HeatMap>)>,
    panel: (usize, usize),
}

impl HeatMapGrid {
    /// An empty grid whose colours span `range` of values.
    pub fn new(title: impl Into<String>, range: (f64, f64)) -> Self {
        Self {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            value_label: String::new(),
            range,
            y_marks: Vec::new(),
            columns: Vec::new(),
            panel: (380, 150),
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

    /// Names the colour bar, with its unit.
    #[must_use]
    pub fn value_label(mut self, text: impl Into<String>) -> Self {
        self.value_label = text.into();
        self
    }

    /// Adds a tick on every map's vertical axis at a fraction of its height.
    #[must_use]
    pub fn y_mark(mut self, fraction: f64, text: impl Into<String>) -> Self {
        self.y_marks.push((fraction, text.into()));
        self
    }

    /// Adds a column of maps under a heading, top to bottom.
    #[must_use]
    pub fn column(mut self, heading: impl Into<String>, maps: Vec<HeatMap>) -> Self {
        self.columns.push((heading.into(), maps));
        self
    }

    /// Sets the size of each map in pixels (at least 40 by 40).
    #[must_use]
    pub fn panel_size(mut self, width: usize, height: usize) -> Self {
        self.panel = (width.max(40), height.max(40));
        self
    }

    /// Draws the grid and writes it as PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PlotError> {
        write_png(path, &self.draw())
    }

    /// Draws the grid.
    pub fn draw(&self) -> Canvas {
        let layout = Layout::of(self);
        let mut canvas = Canvas::new(layout.width, layout.height);
        let title_at = (layout.left as i64, MARGIN as i64 - 4);
        canvas.text(title_at.0, title_at.1, &self.title, TextSize::Large, INK);
        let longest = self
            .columns
            .iter()
            .flat_map(|(_, maps)| maps)
            .map(|map| map.x_extent)
            .fold(0.0, f64::max);
        for (column, (heading, maps)) in self.columns.iter().enumerate() {
            let x = layout.area(self.panel, column, 0).left;
            let text = TextSize::Large.fit(heading, self.panel.0);
            canvas.text(x, layout.headings as i64, &text, TextSize::Large, INK);
            for (row, map) in maps.iter().enumerate() {
                let area = layout.area(self.panel, column, row);
                self.draw_panel(&mut canvas, area, map, longest);
                if column == 0 {
                    draw_y_marks(&mut canvas, area, &layout.y_marks);
                    draw_upward_label(&mut canvas, area, 8, &self.y_label);
                }
                if row + 1 == maps.len() {
                    draw_x_marks(&mut canvas, area, &time_marks(longest, self.panel.0));
                    draw_x_label(&mut canvas, area, &self.x_label);
                }
            }
        }
        self.draw_bar(&mut canvas, &layout);
        canvas
    }

    fn draw_panel(&self, canvas: &mut Canvas, area: Area, map: &HeatMap, longest: f64) {
        let title = TextSize::Small.fit(&map.title, area.width);
        let title_top = area.top - TextSize::Small.height() as i64 - 2;
        canvas.text(area.left, title_top, &title, TextSize::Small, FAINT_INK);
        // A shorter map keeps the shared scale and leaves the rest of its panel white.
        let share = if longest > 0.0 {
            map.x_extent / longest
        } else {
            1.0
        };
        let width = (area.width as f64 * share).round().max(1.0);
        for x in 0..width as usize {
            let columns = (
                x as f64 / width * map.columns as f64,
                (x + 1) as f64 / width * map.columns as f64,
            );
            for y in 0..area.height {
                let (height, count) = (area.height as f64, map.rows as f64);
                let rows = (y as f64 / height * count, (y + 1) as f64 / height * count);
                let value = f64::from(map.value_in(columns, rows));
                let colour = magma((value - self.range.0) / (self.range.1 - self.range.0));
                canvas.blend(
                    area.left + x as i64,
                    area.top + (area.height - 1 - y) as i64,
                    colour,
                    1.0,
                );
            }
        }
        canvas.frame(area.left, area.top, area.width, area.height, FAINT_INK);
    }

    fn draw_bar(&self, canvas: &mut Canvas, layout: &Layout) {
        let area = layout.bar;
        for y in 0..area.height {
            let colour = magma(y as f64 / (area.height.max(2) - 1) as f64);
            canvas.fill(
                area.left,
                area.top + (area.height - 1 - y) as i64,
                area.width,
                1,
                colour,
            );
        }
        canvas.frame(area.left, area.top, area.width, area.height, FAINT_INK);
        draw_right_marks(canvas, area, &layout.bar_marks);
        let beside = room_beside(&layout.bar_marks) - TextSize::Small.height() - 6;
        draw_upward_label(
            canvas,
            area,
            area.left + (area.width + beside) as i64,
            &self.value_label,
        );
    }
}

/// Where things are, in pixels.
struct Layout {
    left: usize,
    headings: usize,
    top: usize,
    width: usize,
    height: usize,
    y_marks: Vec<Mark>,
    bar: Area,
    bar_marks: Vec<Mark>,
}

impl Layout {
    fn of(grid: &HeatMapGrid) -> Self {
        let y_marks: Vec<Mark> = grid
            .y_marks
            .iter()
            .map(|(fraction, text)| Mark {
                fraction: *fraction,
                text: text.clone(),
            })
            .collect();
        let (low, high) = grid.range;
        let values = ticks::linear(low, high, 6);
        let step = values
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(f64::MAX, f64::min);
        let bar_mark = |value: &f64| Mark {
            fraction: (value - low) / (high - low),
            text: ticks::label(*value, step),
        };
        let bar_marks: Vec<Mark> = values.iter().map(bar_mark).collect();
        let left = room_beside(&y_marks);
        let title = if grid.title.is_empty() {
            0
        } else {
            TextSize::Large.height() + 6
        };
        let headings = MARGIN - 4 + title;
        let top = headings + TextSize::Large.height() + 6 + TextSize::Small.height() + 2;
        let columns = grid.columns.len().max(1);
        let rows = grid
            .columns
            .iter()
            .map(|(_, maps)| maps.len())
            .max()
            .unwrap_or(0)
            .max(1);
        let maps_width = columns * (grid.panel.0 + GAP) - GAP;
        let maps_height =
            rows * (grid.panel.1 + TextSize::Small.height() + 8) - TextSize::Small.height() - 8;
        let bar = Area {
            left: (left + maps_width + GAP + 8) as i64,
            top: top as i64,
            width: BAR_WIDTH,
            height: maps_height,
        };
        Self {
            left,
            headings,
            top,
            width: left + maps_width + GAP + 8 + BAR_WIDTH + room_beside(&bar_marks) + 2,
            height: top + maps_height + room_below(),
            y_marks,
            bar,
            bar_marks,
        }
    }

    fn area(&self, panel: (usize, usize), column: usize, row: usize) -> Area {
        Area {
            left: (self.left + column * (panel.0 + GAP)) as i64,
            top: (self.top + row * (panel.1 + TextSize::Small.height() + 8)) as i64,
            width: panel.0,
            height: panel.1,
        }
    }
}

/// About one tick each 60 pixels.
fn time_marks(extent: f64, width: usize) -> Vec<Mark> {
    let values = ticks::linear(0.0, extent, (width / 60).max(1));
    let step = values
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(f64::MAX, f64::min);
    values
        .iter()
        .map(|&value| Mark {
            fraction: value / extent,
            text: ticks::label(value, step),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_run_upwards_and_columns_to_the_right() {
        // Only the bottom row of the last column is high.
        let mut values = vec![0.0; 4 * 3];
        values[3 * 3] = 1.0;
        let map = HeatMap::new("", values, 3, 4.0);
        let grid = HeatMapGrid::new("", (0.0, 1.0))
            .column("", vec![map])
            .panel_size(40, 40);
        let canvas = grid.draw();
        let area = Layout::of(&grid).area((40, 40), 0, 0);
        let at = |x: i64, y: i64| {
            canvas
                .pixel((area.left + x) as usize, (area.top + y) as usize)
                .unwrap()
        };
        assert_eq!(at(35, 35), magma(1.0));
        assert_eq!(at(35, 5), magma(0.0));
        assert_eq!(at(5, 35), magma(0.0));
    }

    #[test]
    fn shrinking_keeps_peaks_and_empty_maps_draw() {
        let mut values = vec![0.0; 1000];
        values[517] = 1.0;
        let map = HeatMap::new("", values, 1, 1.0);
        assert_eq!(map.value_in((500.0, 550.0), (0.0, 1.0)), 1.0);
        let empty = HeatMap::new("nothing", Vec::new(), 8, 0.0);
        let canvas = HeatMapGrid::new("", (0.0, 1.0))
            .column("", vec![empty])
            .draw();
        assert!(canvas.width() > 100);
    }
}
