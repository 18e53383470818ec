//! Where things are, for any size of the window.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

use super::theme::GAP;
use crate::project::VARIATIONS;

/// Smallest size in logical pixels at which all has its place.
pub(crate) const LEAST_SIZE: Vec2 = vec2(760.0, 520.0);

const HEADER_HEIGHT: f32 = 44.0;
const GO_HEIGHT: f32 = 94.0;
const PLAY_HEIGHT: f32 = 78.0;
const CARD_COLUMNS: usize = 4;

/// The window's areas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Areas {
    /// Name, base, engine.
    pub(crate) header: Rect,
    /// What the next clips are made of.
    pub(crate) recipe: Rect,
    /// The button, and what belongs to it.
    pub(crate) go: Rect,
    /// The clip that is chosen.
    pub(crate) stage: Rect,
    /// The variations.
    pub(crate) cards: [Rect; VARIATIONS],
    /// How it sounds.
    pub(crate) play: Rect,
}

impl Areas {
    /// Of a window of this size; a smaller one than [`LEAST_SIZE`] is cut at its right and lower edge.
    pub(crate) fn of(window: Rect) -> Self {
        let size = window.size().max(LEAST_SIZE);
        let inner = Rect::from_min_size(window.min, size).shrink(GAP);
        let (header, body) = split_top(inner, HEADER_HEIGHT);
        let side_width = (size.x * 0.31).clamp(272.0, 380.0);
        let (side, right) = split_left(body, side_width);
        let (recipe, go) = split_bottom(side, GO_HEIGHT);
        let (upper, play) = split_bottom(right, PLAY_HEIGHT);
        let card_height = (size.y * 0.125).clamp(74.0, 124.0);
        let (stage, grid) = split_bottom(upper, card_height * 2.0 + GAP * 0.8);
        Self {
            header,
            recipe,
            go,
            stage,
            cards: cards(grid, card_height),
            play,
        }
    }
}

fn cards(grid: Rect, height: f32) -> [Rect; VARIATIONS] {
    let gap = GAP * 0.8;
    let columns = CARD_COLUMNS as f32;
    let width = (grid.width() - gap * (columns - 1.0)) / columns;
    std::array::from_fn(|card| {
        let (row, column) = (card / CARD_COLUMNS, card % CARD_COLUMNS);
        let corner = pos2(
            grid.left() + column as f32 * (width + gap),
            grid.top() + row as f32 * (height + gap),
        );
        Rect::from_min_size(corner, vec2(width, height))
    })
}

/// The card that an arrow key leads to.
pub(crate) fn neighbour(card: usize, right: i32, down: i32) -> usize {
    let columns = CARD_COLUMNS as i32;
    let rows = VARIATIONS as i32 / columns;
    let card = card as i32;
    let column = (card % columns + right).clamp(0, columns - 1);
    let row = (card / columns + down).clamp(0, rows - 1);
    (row * columns + column) as usize
}

/// Of this height, and the rest below a gap.
pub(crate) fn split_top(rect: Rect, height: f32) -> (Rect, Rect) {
    let at = rect.top() + height;
    (
        Rect::from_min_max(rect.min, pos2(rect.right(), at)),
        Rect::from_min_max(pos2(rect.left(), (at + GAP).min(rect.bottom())), rect.max),
    )
}

/// The rest above a gap, and of this height.
pub(crate) fn split_bottom(rect: Rect, height: f32) -> (Rect, Rect) {
    let at = rect.bottom() - height;
    (
        Rect::from_min_max(rect.min, pos2(rect.right(), (at - GAP).max(rect.top()))),
        Rect::from_min_max(pos2(rect.left(), at), rect.max),
    )
}

/// Of this width, and the rest beside a gap.
pub(crate) fn split_left(rect: Rect, width: f32) -> (Rect, Rect) {
    let at = rect.left() + width;
    (
        Rect::from_min_max(rect.min, pos2(at, rect.bottom())),
        Rect::from_min_max(pos2((at + GAP).min(rect.right()), rect.top()), rect.max),
    )
}

/// Side by side, as wide as their weights ask, with this gap between them.
pub(crate) fn columns<const COUNT: usize>(
    rect: Rect,
    weights: [f32; COUNT],
    gap: f32,
) -> [Rect; COUNT] {
    let all: f32 = weights.iter().sum();
    let free = (rect.width() - gap * (COUNT as f32 - 1.0)).max(0.0);
    let mut left = rect.left();
    weights.map(|weight| {
        let width = free * weight / all;
        let corner = Pos2::new(left, rect.top());
        left += width + gap;
        Rect::from_min_size(corner, vec2(width, rect.height()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_area_lies_over_another_at_any_size() {
        for size in [
            LEAST_SIZE,
            vec2(960.0, 640.0),
            vec2(1600.0, 1000.0),
            vec2(3840.0, 2160.0),
        ] {
            let window = Rect::from_min_size(Pos2::ZERO, size);
            let areas = Areas::of(window);
            let mut all = vec![
                areas.header,
                areas.recipe,
                areas.go,
                areas.stage,
                areas.play,
            ];
            all.extend(areas.cards);
            for (at, area) in all.iter().enumerate() {
                assert!(window.contains_rect(*area), "{size:?}: {area:?}");
                assert!(area.width() > 90.0 && area.height() > 40.0, "{area:?}");
                for other in &all[at + 1..] {
                    assert!(!area.shrink(0.01).intersects(*other), "{size:?}");
                }
            }
            assert!(areas.stage.height() > 170.0, "{size:?}: {:?}", areas.stage);
        }
    }

    #[test]
    fn arrows_stay_on_the_grid() {
        assert_eq!(neighbour(0, 1, 0), 1);
        assert_eq!(neighbour(3, 1, 0), 3);
        assert_eq!(neighbour(1, 0, 1), 5);
        assert_eq!(neighbour(5, 0, 1), 5);
        assert_eq!(neighbour(4, -1, -1), 0);
    }
}
