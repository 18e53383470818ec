//! The effect: what comes in is heard, can give its style, or be varied.

use nice_plug::prelude::*;

use crate::instance::Instance;

/// The plugin for audio tracks.
#[derive(Debug)]
pub struct LoreleiEffect(Instance);

const fn through(channels: u32) -> AudioIOLayout {
    AudioIOLayout {
        main_input_channels: NonZeroU32::new(channels),
        main_output_channels: NonZeroU32::new(channels),
        ..AudioIOLayout::const_default()
    }
}

impl Default for LoreleiEffect {
    fn default() -> Self {
        Self(Instance::new(true))
    }
}

impl Plugin for LoreleiEffect {
    const NAME: &'static str = "Lorelei Effect";
    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] = &[through(2), through(1)];

    crate::instance::as_instance!();
}

impl ClapPlugin for LoreleiEffect {
    const CLAP_ID: &'static str = "org.lorelei.effect";
    const CLAP_DESCRIPTION: Option<&'static str> =
        Some("Loops in a style it was taught, in your tempo");
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = &[
        ClapFeature::AudioEffect,
        ClapFeature::Custom("generator"),
        ClapFeature::Stereo,
    ];
}

impl Vst3Plugin for LoreleiEffect {
    const VST3_CLASS_ID: [u8; 16] = *b"LoreleiEffectPlg";
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] = &[
        Vst3SubCategory::Fx,
        Vst3SubCategory::Generator,
        Vst3SubCategory::Stereo,
    ];
}
