//! Signs, drawn with a few strokes in a square.

use egui::{Color32, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, pos2};

/// What a sign stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// Keep.
    Star,
    /// Kept.
    StarFull,
    /// Another seed.
    Dice,
    /// Held.
    Lock,
    /// Free.
    Unlock,
    /// Back.
    Undo,
    /// Forth.
    Redo,
    /// Once more.
    Again,
    /// Into a file.
    Export,
    /// Away.
    Cross,
    /// Something is wrong.
    Warning,
    /// Sounds.
    Play,
    /// There is a list.
    Down,
}

/// Draws a sign.
pub(crate) fn paint(painter: &Painter, square: Rect, icon: Icon, ink: Color32) {
    let at = |x: f32, y: f32| {
        pos2(
            square.left() + x * square.width(),
            square.top() + y * square.height(),
        )
    };
    let stroke = Stroke::new((square.width() / 9.0).clamp(1.2, 2.2), ink);
    let line = |points: &[(f32, f32)]| {
        let points = points.iter().map(|(x, y)| at(*x, *y)).collect();
        painter.add(Shape::line(points, stroke));
    };
    match icon {
        Icon::Star => {
            painter.add(Shape::closed_line(star(square), stroke));
        }
        Icon::StarFull => paint_full_star(painter, square, ink),
        Icon::Dice => {
            let round = square.width() * 0.2;
            painter.rect_stroke(square, round, stroke, StrokeKind::Inside);
            for (x, y) in [(0.3, 0.3), (0.5, 0.5), (0.7, 0.7)] {
                painter.circle_filled(at(x, y), square.width() * 0.09, ink);
            }
        }
        Icon::Lock | Icon::Unlock => {
            let body = Rect::from_min_max(at(0.12, 0.45), at(0.88, 1.0));
            painter.rect_filled(body, square.width() * 0.12, ink);
            let right_leg = if icon == Icon::Lock { 0.45 } else { 0.22 };
            line(&[
                (0.28, 0.45),
                (0.28, 0.2),
                (0.4, 0.05),
                (0.6, 0.05),
                (0.72, 0.2),
                (0.72, right_leg),
            ]);
        }
        Icon::Undo => {
            painter.add(Shape::line(arc(square, -100.0, 140.0), stroke));
            line(&[(0.05, 0.05), (0.1, 0.42), (0.46, 0.36)]);
        }
        Icon::Redo => {
            painter.add(Shape::line(arc(square, -80.0, -320.0), stroke));
            line(&[(0.95, 0.05), (0.9, 0.42), (0.54, 0.36)]);
        }
        Icon::Again => {
            painter.add(Shape::line(arc(square, -30.0, 200.0), stroke));
            painter.add(Shape::line(arc(square, 230.0, 320.0), stroke));
            line(&[(0.95, 0.02), (0.93, 0.38), (0.6, 0.3)]);
        }
        Icon::Export => {
            line(&[(0.5, 0.0), (0.5, 0.62)]);
            line(&[(0.24, 0.38), (0.5, 0.64), (0.76, 0.38)]);
            line(&[(0.05, 0.7), (0.05, 0.97), (0.95, 0.97), (0.95, 0.7)]);
        }
        Icon::Cross => {
            line(&[(0.12, 0.12), (0.88, 0.88)]);
            line(&[(0.88, 0.12), (0.12, 0.88)]);
        }
        Icon::Warning => {
            line(&[(0.5, 0.05), (0.98, 0.93), (0.02, 0.93), (0.5, 0.05)]);
            line(&[(0.5, 0.38), (0.5, 0.62)]);
            painter.circle_filled(at(0.5, 0.77), stroke.width * 0.6, ink);
        }
        Icon::Play => {
            let points = vec![at(0.15, 0.05), at(0.95, 0.5), at(0.15, 0.95)];
            painter.add(Shape::convex_polygon(points, ink, Stroke::NONE));
        }
        Icon::Down => line(&[(0.15, 0.35), (0.5, 0.7), (0.85, 0.35)]),
    }
}

fn arc(square: Rect, from_degrees: f32, to_degrees: f32) -> Vec<Pos2> {
    let radius = square.width() * 0.42;
    let steps = 20;
    let point = |step: i32| {
        let share = step as f32 / steps as f32;
        let angle = (from_degrees + (to_degrees - from_degrees) * share).to_radians();
        square.center() + radius * egui::vec2(angle.cos(), angle.sin())
    };
    (0..=steps).map(point).collect()
}

fn star(square: Rect) -> Vec<Pos2> {
    let centre = square.center() + egui::vec2(0.0, square.height() * 0.04);
    let point = |corner: i32| {
        let angle = (corner as f32 * 36.0 - 90.0).to_radians();
        let radius = square.width() * if corner % 2 == 0 { 0.56 } else { 0.25 };
        centre + radius * egui::vec2(angle.cos(), angle.sin())
    };
    (0..10).map(point).collect()
}

// A star is not convex: its rays are filled one by one.
fn paint_full_star(painter: &Painter, square: Rect, ink: Color32) {
    let points = star(square);
    let core = points.iter().skip(1).step_by(2).copied().collect();
    painter.add(Shape::convex_polygon(core, ink, Stroke::NONE));
    for ray in (0..10).step_by(2) {
        let corners = vec![points[(ray + 9) % 10], points[ray], points[ray + 1]];
        painter.add(Shape::convex_polygon(corners, ink, Stroke::NONE));
    }
}
