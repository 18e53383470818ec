//! The chart as SVG, to stand within a page: text stays text, and colours follow the page.
//!
//! Colours are CSS variables with the palette as their default, so that a page can set lighter ones for a dark ground: `--plot-ink`,
//! `--plot-faint`, `--plot-grid` and `--plot-series-0` to `--plot-series-5`.

use std::fmt::Write;

use super::{LineChart, Scale, Series, Stroke, places_of, stands_alone};
use crate::axes::{Area, Mark};
use crate::colour::{Colour, FAINT_INK, GRID, INK, PALETTE_SIZE};

const FONT_SIZE: usize = 13;
/// Mean advance of a sans-serif character, as a share of the font's size; close enough to place a legend.
const ADVANCE: f64 = 0.56;
const TITLE_HEIGHT: usize = 30;
const BELOW: usize = 44;
const RIGHT_MARGIN: usize = 14;
const LEGEND_LINE: usize = 20;
const LEGEND_SAMPLE: f64 = 26.0;
/// Series beyond the palette's length take its colours again, with other dashes.
const DASHES: [&str; 4] = [
    "",
    r#" stroke-dasharray="7 4""#,
    r#" stroke-dasharray="2 3""#,
    r#" stroke-dasharray="9 3 2 3""#,
];

impl LineChart {
    /// The chart as an `<svg>` element, its legend below the axis; a pointer over a line is told the line's name.
    pub fn svg(&self) -> String {
        let scale = Scale::of(self);
        let (x_marks, y_marks) = (scale.x_marks(), scale.y_marks());
        let area = self.svg_area(&y_marks);
        let legend = self.legend_places(area);
        let height = self.size.1
            + legend
                .last()
                .map_or(0, |place| (place.line + 1) * LEGEND_LINE);
        let mut svg = head(self.size.0, height, &self.title);
        grid(&mut svg, area, &x_marks, &y_marks);
        self.svg_markers(&mut svg, area, &scale);
        for (index, series) in self.series.iter().enumerate() {
            let points = places_of(series, area, &scale);
            draw(&mut svg, series, &self.ink(index), &points);
        }
        self.svg_labels(&mut svg, area);
        self.svg_legend(&mut svg, &legend);
        svg.push_str("</svg>");
        svg
    }

    fn svg_area(&self, y_marks: &[Mark]) -> Area {
        let widest = y_marks.iter().map(|mark| width_of(&mark.text));
        let left = widest.fold(0.0, f64::max) as usize + FONT_SIZE + 22;
        let across = left + RIGHT_MARGIN;
        Area {
            left: left as i64,
            top: TITLE_HEIGHT as i64,
            width: self.size.0.saturating_sub(across).max(1),
            height: self.size.1.saturating_sub(TITLE_HEIGHT + BELOW).max(1),
        }
    }

    fn ink(&self, index: usize) -> Ink {
        let series = &self.series[index];
        let place = self.palette_place(index);
        let dashes = DASHES[(place / PALETTE_SIZE) % DASHES.len()];
        let paint = match series.colour {
            Some(colour) => hexadecimal(colour),
            None => variable(
                &format!("series-{}", place % PALETTE_SIZE),
                self.colour_of(index),
            ),
        };
        Ink { paint, dashes }
    }

    fn svg_markers(&self, svg: &mut String, area: Area, scale: &Scale) {
        let faint = variable("faint", FAINT_INK);
        for (x, label) in &self.markers {
            let fraction = scale.x_fraction(*x);
            if !(0.0..=1.0).contains(&fraction) {
                continue;
            }
            let (column, bottom) = (area.x_at(fraction), area.y_at(0.0));
            let _ = write!(
                svg,
                r#"<path d="M{column:.1} {}V{bottom:.1}" style="stroke:{faint}" stroke-dasharray="4 4"/>"#,
                area.top
            );
            let (shift, anchor) = if fraction > 0.5 {
                (-6.0, "end")
            } else {
                (6.0, "start")
            };
            let at = (column + shift, bottom - 8.0);
            text(svg, at, anchor, &faint, label, "");
        }
    }

    fn svg_labels(&self, svg: &mut String, area: Area) {
        let ink = variable("ink", INK);
        let title = r#" font-size="15" font-weight="600""#;
        text(
            svg,
            (area.left as f64, 18.0),
            "start",
            &ink,
            &self.title,
            title,
        );
        let below = area.y_at(0.0) + 37.0;
        text(
            svg,
            (area.x_at(0.5), below),
            "middle",
            &ink,
            &self.x_label,
            "",
        );
        let (x, y) = (FONT_SIZE as f64, area.y_at(0.5));
        let upwards = format!(r#" transform="rotate(-90 {x:.1} {y:.1})""#);
        text(svg, (x, y), "middle", &ink, &self.y_label, &upwards);
    }

    /// Entries one behind the other, on as many lines as they need.
    fn legend_places(&self, area: Area) -> Vec<LegendPlace> {
        let mut places = Vec::new();
        let (mut x, mut line) = (0.0, 0);
        for (index, series) in self.series.iter().enumerate() {
            if series.name.is_empty() {
                continue;
            }
            let width = LEGEND_SAMPLE + 8.0 + width_of(&series.name) + 18.0;
            if x > 0.0 && x + width > area.width as f64 {
                (x, line) = (0.0, line + 1);
            }
            let left = area.left as f64 + x;
            places.push(LegendPlace { index, left, line });
            x += width;
        }
        places
    }

    fn svg_legend(&self, svg: &mut String, places: &[LegendPlace]) {
        for place in places {
            let series = &self.series[place.index];
            let y = (self.size.1 + place.line * LEGEND_LINE) as f64 + 8.0;
            let right = place.left + LEGEND_SAMPLE;
            let points = [Some((place.left, y)), Some((right, y))];
            draw(svg, series, &self.ink(place.index), &points);
            let at = (right + 8.0, y + 4.0);
            text(svg, at, "start", &variable("ink", INK), &series.name, "");
        }
    }
}

/// Where a series stands in the legend.
struct LegendPlace {
    index: usize,
    left: f64,
    line: usize,
}

/// How a series is told from the others.
struct Ink {
    paint: String,
    dashes: &'static str,
}

fn head(width: usize, height: usize, title: &str) -> String {
    format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}" "#,
            r#"font-family="system-ui, sans-serif" font-size="{}" fill="none">"#
        ),
        escaped(title),
        width,
        height,
        width,
        height,
        FONT_SIZE
    )
}

fn grid(svg: &mut String, area: Area, x_marks: &[Mark], y_marks: &[Mark]) {
    let (grid, ink) = (variable("grid", GRID), variable("ink", INK));
    let (left, right, bottom) = (area.x_at(0.0), area.x_at(1.0), area.y_at(0.0));
    for mark in x_marks {
        let x = area.x_at(mark.fraction);
        let _ = write!(
            svg,
            r#"<path d="M{x:.1} {}V{bottom:.1}" style="stroke:{grid}"/>"#,
            area.top
        );
        text(svg, (x, bottom + 17.0), "middle", &ink, &mark.text, "");
    }
    for mark in y_marks {
        let y = area.y_at(mark.fraction);
        let _ = write!(
            svg,
            r#"<path d="M{left:.1} {y:.1}H{right:.1}" style="stroke:{grid}"/>"#
        );
        text(svg, (left - 7.0, y + 4.0), "end", &ink, &mark.text, "");
    }
    let _ = write!(
        svg,
        r#"<rect x="{left:.1}" y="{}" width="{}" height="{}" style="stroke:{}"/>"#,
        area.top,
        area.width,
        area.height,
        variable("faint", FAINT_INK)
    );
}

fn draw(svg: &mut String, series: &Series, ink: &Ink, points: &[Option<(f64, f64)>]) {
    let (width, opacity) = match series.stroke {
        Stroke::Faint => (1.2, 0.5),
        Stroke::Line | Stroke::Dotted => (2.0, 1.0),
    };
    let _ = write!(
        svg,
        r#"<g style="stroke:{}" opacity="{opacity}"><title>{}</title>"#,
        ink.paint,
        escaped(&series.name)
    );
    let lines = path(points);
    if !lines.is_empty() {
        let _ = write!(
            svg,
            r#"<path d="{lines}" stroke-width="{width}" stroke-linejoin="round"{}/>"#,
            ink.dashes
        );
    }
    // A line of no length with round ends is a dot.
    let dotted = |index: &usize| series.stroke == Stroke::Dotted || stands_alone(points, *index);
    let dots: String = (0..points.len())
        .filter(dotted)
        .filter_map(|index| points[index])
        .map(|(x, y)| format!("M{x:.1} {y:.1}h0"))
        .collect();
    if !dots.is_empty() {
        let _ = write!(
            svg,
            r#"<path d="{dots}" stroke-width="6" stroke-linecap="round"/>"#
        );
    }
    svg.push_str("</g>");
}

fn path(points: &[Option<(f64, f64)>]) -> String {
    let mut path = String::new();
    let mut joined = false;
    for (index, point) in points.iter().enumerate() {
        if let Some((x, y)) = point.filter(|_| !stands_alone(points, index)) {
            let command = if joined { 'L' } else { 'M' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        joined = point.is_some();
    }
    path
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, paint: &str, text: &str, more: &str) {
    if text.is_empty() {
        return;
    }
    let (x, y) = at;
    let _ = write!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" style="fill:{paint}"{more}>{}</text>"#,
        escaped(text)
    );
}

fn variable(name: &str, default: Colour) -> String {
    format!("var(--plot-{name},{})", hexadecimal(default))
}

fn hexadecimal([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * FONT_SIZE as f64 * ADVANCE
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart::new("Loss").series(Series::new("training", points))
    }

    #[test]
    fn names_are_escaped() {
        let svg = LineChart::new("a < b & \"c\"")
            .x_label("<step>")
            .series(Series::new("<script>", vec![(0.0, 1.0), (1.0, 2.0)]))
            .marker(0.5, "<best>")
            .svg();
        assert!(svg.contains("aria-label=\"a &lt; b &amp; &quot;c&quot;\""));
        for text in ["<step>", "<script>", "<best>"] {
            assert!(!svg.contains(text), "{text}");
        }
        assert!(svg.contains("&lt;script&gt;</text>"), "in the legend");
    }

    #[test]
    fn a_gap_interrupts_the_line_and_a_lone_point_is_a_dot() {
        let nan = f64::NAN;
        let svg = chart(vec![(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 1.0)]).svg();
        let lines = svg
            .split("<path d=\"")
            .find(|part| part.contains("stroke-linejoin"));
        let lines = lines.unwrap().split('"').next().unwrap();
        assert_eq!(
            (lines.matches('M').count(), lines.matches('L').count()),
            (1, 1)
        );
        assert_eq!(svg.matches("h0").count(), 1, "the lone point");
    }

    #[test]
    fn no_coordinate_is_no_number() {
        for points in [
            vec![],
            vec![(1.0, f64::NAN)],
            vec![(1.0, f64::INFINITY), (2.0, 0.0)],
        ] {
            let svg = chart(points.clone()).logarithmic().svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}");
        }
    }

    #[test]
    fn a_long_legend_takes_more_lines_and_dashes_tell_equal_colours_apart() {
        let many = (0..12).fold(LineChart::new("Norms").size(400, 300), |chart, block| {
            chart.series(Series::new(
                format!("blocks.{block}"),
                vec![(0.0, 1.0), (1.0, 2.0)],
            ))
        });
        let svg = many.svg();
        // Three hundred pixels, and six lines of two names each.
        assert!(svg.contains("width=\"400\" height=\"420\""));
        assert_eq!(
            svg.matches("var(--plot-series-0,#0072b2)").count(),
            4,
            "blocks 0 and 6"
        );
        assert_eq!(
            svg.matches("stroke-dasharray=\"7 4\"").count(),
            12,
            "blocks 6 to 11"
        );
    }
}
