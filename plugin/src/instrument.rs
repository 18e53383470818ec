//! The instrument: no input but a side chain.

use nice_plug::prelude::*;

use crate::instance::Instance;

/// The plugin for instrument tracks.
#[derive(Debug)]
pub struct Lorelei(Instance);

const STEREO: AudioIOLayout = AudioIOLayout {
    main_output_channels: NonZeroU32::new(2),
    ..AudioIOLayout::const_default()
};

impl Default for Lorelei {
    fn default() -> Self {
        Self(Instance::new(false))
    }
}

impl Plugin for Lorelei {
    const NAME: &'static str = "Lorelei";
    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] = &[
        AudioIOLayout {
            aux_input_ports: &[new_nonzero_u32(2)],
            ..STEREO
        },
        STEREO,
        AudioIOLayout {
            main_output_channels: NonZeroU32::new(1),
            ..AudioIOLayout::const_default()
        },
    ];

    crate::instance::as_instance!();
}

impl ClapPlugin for Lorelei {
    const CLAP_ID: &'static str = "org.lorelei.lorelei";
    const CLAP_DESCRIPTION: Option<&'static str> =
        Some("Loops in a style it was taught, in your tempo");
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = &[
        ClapFeature::Instrument,
        ClapFeature::Sampler,
        ClapFeature::Stereo,
    ];
}

impl Vst3Plugin for Lorelei {
    const VST3_CLASS_ID: [u8; 16] = *b"LoreleiInstrumnt";
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] = &[
        Vst3SubCategory::Instrument,
        Vst3SubCategory::Sampler,
        Vst3SubCategory::Stereo,
    ];
}
