//! Small pictures without a window system: line charts and grids of heat maps, written as PNG; line charts also as SVG for pages.
//!
//! Labels come from a bitmap font compiled into the crate (the page's own in SVG), so a machine without any font draws the same picture as
//! a machine with hundreds. Nothing here knows about sound or training: callers bring numbers and labels with units.
//!
//! | module | holds |
//! |---|---|
//! | [`LineChart`] | one or more series over a shared axis, e.g. loss curves |
//! | [`HeatMapGrid`] | columns of heat maps on one colour scale, e.g. mel spectrograms side by side |
//! | [`Canvas`] | the pixels, with rectangles, lines and text |
//! | [`ticks`] | round numbers for axes |
//!
//! Colours: series use the palette of Okabe and Ito (2008), which stays distinct for colour-blind readers; heat maps
//! use key colours of "magma" (Smith and van der Walt, 2015), whose lightness grows evenly with the value.
//!
//! # Example
//! ```no_run
//! use plot::{LineChart, Series};
//!
//! let chart = LineChart::new("Flow-matching loss")
//!     .x_label("step")
//!     .y_label("loss")
//!     .series(Series::new("training", vec![(0.0, 1.2), (100.0, 0.9), (200.0, 0.8)]));
//! chart.write(std::path::Path::new("loss.png"))?;
//! # Ok::<(), plot::PlotError>(())
//! ```

mod axes;
mod canvas;
mod colour;
mod encode;
mod font;
mod heat_map;
mod line_chart;
pub mod ticks;

pub use canvas::Canvas;
pub use colour::{Colour, magma, series_colour};
pub use encode::{PlotError, write_png};
pub use font::TextSize;
pub use heat_map::{HeatMap, HeatMapGrid};
pub use line_chart::{LineChart, Series, Stroke};
