//! Colours, sizes and letters of the window: the river at night, and gold hair.

use std::collections::BTreeMap;

use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle, vec2};

/// Behind everything.
pub(crate) const NIGHT: Color32 = Color32::from_rgb(0x0C, 0x12, 0x17);
/// Panels.
pub(crate) const PANEL: Color32 = Color32::from_rgb(0x14, 0x1C, 0x23);
/// What lies in panels: fields, rows, pictures.
pub(crate) const WELL: Color32 = Color32::from_rgb(0x0E, 0x15, 0x1B);
/// What can be pressed.
pub(crate) const RAISED: Color32 = Color32::from_rgb(0x20, 0x2C, 0x35);
/// What can be pressed, under the pointer.
pub(crate) const LIFTED: Color32 = Color32::from_rgb(0x2B, 0x3A, 0x45);
/// Edges.
pub(crate) const EDGE: Color32 = Color32::from_rgb(0x2A, 0x38, 0x42);
/// Words that matter.
pub(crate) const TEXT: Color32 = Color32::from_rgb(0xEE, 0xEA, 0xE0);
/// Words that explain.
pub(crate) const QUIET: Color32 = Color32::from_rgb(0xA0, 0xB0, 0xB7);
/// What is chosen, and the one thing to press.
pub(crate) const GOLD: Color32 = Color32::from_rgb(0xE7, 0xBC, 0x66);
/// The one thing to press, under the pointer.
pub(crate) const GOLD_LIFTED: Color32 = Color32::from_rgb(0xF3, 0xD0, 0x87);
/// Behind what is chosen.
pub(crate) const GOLD_DEEP: Color32 = Color32::from_rgb(0x3A, 0x31, 0x1E);
/// Words on gold.
pub(crate) const ON_GOLD: Color32 = Color32::from_rgb(0x1D, 0x17, 0x0B);
/// Sound: waveforms, what is at work.
pub(crate) const WATER: Color32 = Color32::from_rgb(0x6C, 0xC5, 0xBE);
/// Sound that is not heard now.
pub(crate) const WATER_DEEP: Color32 = Color32::from_rgb(0x3B, 0x6E, 0x72);
/// Something is wrong.
pub(crate) const PROBLEM: Color32 = Color32::from_rgb(0xF4, 0x95, 0x86);
/// Behind what is wrong.
pub(crate) const PROBLEM_DEEP: Color32 = Color32::from_rgb(0x36, 0x20, 0x22);
/// The play cursor.
pub(crate) const CURSOR: Color32 = Color32::from_rgb(0xFF, 0xF6, 0xDF);

/// Colours of the adapters, by their slot.
pub(crate) const ADAPTERS: [Color32; 4] = [
    Color32::from_rgb(0xE7, 0xBC, 0x66),
    Color32::from_rgb(0x8F, 0xB8, 0xF0),
    Color32::from_rgb(0xC9, 0xA2, 0xE8),
    Color32::from_rgb(0x8F, 0xD1, 0x8A),
];

/// Between panels, and from the window's edge.
pub(crate) const GAP: f32 = 10.0;
/// From a panel's edge to what it holds.
pub(crate) const PADDING: f32 = 12.0;
/// Panels.
pub(crate) const ROUND: u8 = 10;
/// Buttons and fields.
pub(crate) const ROUND_SMALL: u8 = 6;
/// Height of buttons and fields.
pub(crate) const ROW: f32 = 28.0;

/// Letters of titles.
pub(crate) fn title() -> FontId {
    FontId::proportional(16.0)
}

/// Letters of most words.
pub(crate) fn body() -> FontId {
    FontId::proportional(13.0)
}

/// Letters of what explains.
pub(crate) fn small() -> FontId {
    FontId::proportional(11.5)
}

/// Letters of figures.
pub(crate) fn figures() -> FontId {
    FontId::monospace(11.5)
}

/// Gives a context the window's look.
pub(crate) fn apply(context: &egui::Context) {
    context.set_theme(egui::Theme::Dark);
    context.style_mut_of(egui::Theme::Dark, |style| {
        style.text_styles = BTreeMap::from([
            (TextStyle::Heading, title()),
            (TextStyle::Body, body()),
            (TextStyle::Button, body()),
            (TextStyle::Small, small()),
            (
                TextStyle::Monospace,
                FontId::new(11.5, FontFamily::Monospace),
            ),
        ]);
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.spacing.button_padding = vec2(10.0, 5.0);
        style.spacing.menu_margin = Margin::same(6);
        style.spacing.window_margin = Margin::same(PADDING as i8);
        style.spacing.interact_size.y = ROW;
        style.interaction.selectable_labels = false;
        style.interaction.tooltip_delay = 0.4;
        style.animation_time = 0.0;
        // Beside what scrolls, not over it.
        style.spacing.scroll = egui::style::ScrollStyle {
            floating_allocated_width: 8.0,
            ..egui::style::ScrollStyle::thin()
        };
        visuals(&mut style.visuals);
    });
}

fn visuals(visuals: &mut egui::Visuals) {
    let round = CornerRadius::same(ROUND_SMALL);
    visuals.panel_fill = NIGHT;
    visuals.window_fill = PANEL;
    visuals.window_stroke = Stroke::new(1.0, EDGE);
    visuals.window_corner_radius = CornerRadius::same(ROUND);
    visuals.menu_corner_radius = CornerRadius::same(ROUND);
    visuals.extreme_bg_color = WELL;
    visuals.faint_bg_color = WELL;
    visuals.hyperlink_color = GOLD;
    visuals.error_fg_color = PROBLEM;
    visuals.warn_fg_color = GOLD;
    visuals.selection.bg_fill = Color32::from_rgb(0x5C, 0x4A, 0x22);
    visuals.selection.stroke = Stroke::new(1.5, GOLD);
    visuals.weak_text_color = Some(QUIET);
    // A blinking cursor draws frames while nothing happens.
    visuals.text_cursor.blink = false;
    visuals.text_cursor.stroke = Stroke::new(1.5, GOLD);
    let shadow = Shadow {
        offset: [0, 6],
        blur: 24,
        spread: 0,
        color: Color32::from_black_alpha(140),
    };
    visuals.popup_shadow = shadow;
    visuals.window_shadow = shadow;
    let looks = [
        (&mut visuals.widgets.noninteractive, PANEL, EDGE, QUIET),
        (&mut visuals.widgets.inactive, RAISED, RAISED, TEXT),
        (&mut visuals.widgets.hovered, LIFTED, LIFTED, TEXT),
        (&mut visuals.widgets.active, LIFTED, GOLD, TEXT),
        (&mut visuals.widgets.open, LIFTED, LIFTED, TEXT),
    ];
    for (look, fill, edge, words) in looks {
        look.bg_fill = fill;
        look.weak_bg_fill = fill;
        look.bg_stroke = Stroke::new(1.0, edge);
        look.fg_stroke = Stroke::new(1.0, words);
        look.corner_radius = round;
        look.expansion = 0.0;
    }
}

/// Colour of a spectrogram's level, from 0 to 1: night, water, gold, moon.
pub(crate) fn level(share: f32) -> Color32 {
    const STOPS: [(f32, [u8; 3]); 5] = [
        (0.0, [0x0E, 0x15, 0x1B]),
        (0.35, [0x16, 0x3A, 0x47]),
        (0.62, [0x3F, 0x8F, 0x8C]),
        (0.85, [0xE0, 0xB2, 0x5E]),
        (1.0, [0xFF, 0xF4, 0xDA]),
    ];
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let at = STOPS.iter().rposition(|(from, _)| *from <= share);
    let from = at.unwrap_or(0).min(STOPS.len() - 2);
    let ((low, below), (high, above)) = (STOPS[from], STOPS[from + 1]);
    let part = (share - low) / (high - low);
    let mix = |channel: usize| {
        let (below, above) = (f32::from(below[channel]), f32::from(above[channel]));
        (below + (above - below) * part).round() as u8
    };
    Color32::from_rgb(mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.1: relative luminance and contrast ratio.
    fn contrast(one: Color32, other: Color32) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        let luminance = |colour: Color32| {
            0.2126 * linear(colour.r()) + 0.7152 * linear(colour.g()) + 0.0722 * linear(colour.b())
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn words_stand_out_from_what_is_behind_them() {
        assert!((contrast(Color32::WHITE, Color32::BLACK) - 21.0).abs() < 1e-9);
        let grounds = [NIGHT, PANEL, WELL, RAISED, LIFTED, GOLD_DEEP, PROBLEM_DEEP];
        for ground in grounds {
            for words in [TEXT, QUIET, GOLD, WATER, PROBLEM] {
                let ratio = contrast(words, ground);
                assert!(ratio >= 4.5, "{words:?} on {ground:?}: {ratio:.2}");
            }
        }
        for ground in [GOLD, GOLD_LIFTED] {
            assert!(contrast(ON_GOLD, ground) >= 4.5);
        }
        for words in ADAPTERS {
            assert!(contrast(words, WELL) >= 4.5);
        }
        // The cursor of chosen text lies behind words as well.
        assert!(contrast(TEXT, Color32::from_rgb(0x5C, 0x4A, 0x22)) >= 4.5);
    }

    #[test]
    fn a_level_that_is_no_number_is_silence() {
        assert_eq!(level(f32::NAN), level(0.0));
        assert_eq!(level(7.0), Color32::from_rgb(0xFF, 0xF4, 0xDA));
    }
}
