//! Text from pre-rasterised Noto Sans Mono: the same on every machine.

use noto_sans_mono_bitmap::{
    FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width,
};

/// What is drawn for a character that the font lacks.
const SUBSTITUTE: char = '?';

/// The sizes in which labels are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextSize {
    /// Tick labels, legends: 16 pixels high.
    Small,
    /// Titles: 20 pixels high, bold.
    Large,
}

impl TextSize {
    /// Height of a line of text in pixels.
    pub fn height(self) -> usize {
        self.raster_height().val()
    }

    /// Width of `text` in pixels (every character is equally wide).
    pub fn width(self, text: &str) -> usize {
        text.chars().count() * get_raster_width(self.weight(), self.raster_height())
    }

    /// `text` shortened in its middle, by "..", to at most `max_pixels`.
    pub fn fit(self, text: &str, max_pixels: usize) -> String {
        let room = max_pixels / self.width("x").max(1);
        let characters: Vec<char> = text.chars().collect();
        if characters.len() <= room {
            return text.to_owned();
        }
        let kept = room.saturating_sub(2);
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let end = &characters[characters.len() - tail..];
        characters[..head]
            .iter()
            .chain(['.', '.'].iter().take(room))
            .chain(end)
            .collect()
    }

    pub(crate) fn glyph(self, character: char) -> Option<RasterizedChar> {
        get_raster(character, self.weight(), self.raster_height())
            .or_else(|| get_raster(SUBSTITUTE, self.weight(), self.raster_height()))
    }

    fn weight(self) -> FontWeight {
        match self {
            Self::Small => FontWeight::Regular,
            Self::Large => FontWeight::Bold,
        }
    }

    fn raster_height(self) -> RasterHeight {
        match self {
            Self::Small => RasterHeight::Size16,
            Self::Large => RasterHeight::Size20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends() {
        let size = TextSize::Small;
        let fitted = size.fit("a-very-long-name-0012", size.width("0123456789"));
        assert_eq!(fitted, "a-ve..0012");
        assert_eq!(size.fit("short", 500), "short");
        assert_eq!(size.fit("abc", 0), "");
    }

    #[test]
    fn every_character_has_a_glyph() {
        for character in ['a', '²', 'é', '音', '\u{1F3B5}'] {
            assert!(TextSize::Small.glyph(character).is_some(), "{character}");
        }
    }
}
