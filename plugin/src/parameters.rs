//! The parameters that a host sees, saves and automates. Their ids never change.

use std::sync::Arc;

use nice_plug::prelude::*;

use crate::project::{SavedProject, VARIATIONS};

/// How the clip is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum PlayMode {
    /// A loop that follows the host's transport.
    #[id = "loop"]
    #[name = "Loop"]
    Loop,
    /// Notes play it at their pitch.
    #[id = "notes"]
    #[name = "Notes"]
    Notes,
}

/// Length of new clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum Bars {
    /// One bar.
    #[id = "1"]
    #[name = "1"]
    One,
    /// Two bars.
    #[id = "2"]
    #[name = "2"]
    Two,
    /// Four bars.
    #[id = "4"]
    #[name = "4"]
    Four,
    /// Eight bars.
    #[id = "8"]
    #[name = "8"]
    Eight,
    /// Sixteen bars.
    #[id = "16"]
    #[name = "16"]
    Sixteen,
}

impl Bars {
    /// As a number.
    pub fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// Keys a clip can be asked for, in the parameter's order; the first leaves it open.
pub const KEYS: [&str; 25] = [
    "any",
    "c-major",
    "c-minor",
    "d-flat-major",
    "c-sharp-minor",
    "d-major",
    "d-minor",
    "e-flat-major",
    "e-flat-minor",
    "e-major",
    "e-minor",
    "f-major",
    "f-minor",
    "f-sharp-major",
    "f-sharp-minor",
    "g-major",
    "g-minor",
    "a-flat-major",
    "g-sharp-minor",
    "a-major",
    "a-minor",
    "b-flat-major",
    "b-flat-minor",
    "b-major",
    "b-minor",
];

/// Highest seed of the parameter.
pub const MOST_SEED: i32 = 999_999;

/// All parameters, and what is saved beside them.
#[derive(Params)]
pub struct Parameters {
    /// The project; the host asks for it when it saves, and gives it when it opens.
    #[nested]
    pub project: SavedProject,

    /// Output level.
    #[id = "gain"]
    pub gain: FloatParam,
    /// Loop or notes.
    #[id = "mode"]
    pub mode: EnumParam<PlayMode>,
    /// Which variation plays, from 1.
    #[id = "variation"]
    pub variation: IntParam,
    /// Plays the loop while the host's transport stands.
    #[id = "audition"]
    pub audition: BoolParam,
    /// Lets the input through to the output.
    #[id = "hear_input"]
    pub hear_input: BoolParam,
    /// Held: pad A plays.
    #[id = "pad_a"]
    pub pad_a: BoolParam,
    /// Held: pad B plays.
    #[id = "pad_b"]
    pub pad_b: BoolParam,
    /// Turning it on asks for a clip.
    #[id = "generate"]
    pub generate: BoolParam,
    /// Length of new clips.
    #[id = "bars"]
    pub bars: EnumParam<Bars>,
    /// Key of new clips, a place in [`KEYS`].
    #[id = "key"]
    pub key: IntParam,
    /// Seed of the next clip.
    #[id = "seed"]
    pub seed: IntParam,
    /// Keeps the seed; otherwise each new clip takes the next one.
    #[id = "seed_lock"]
    pub seed_lock: BoolParam,
    /// How strongly each adapter acts on new clips.
    #[nested(array, group = "Adapters")]
    pub adapters: [AdapterParameters; 4],
    /// The note at which the clip has its own pitch.
    #[id = "root_note"]
    pub root_note: IntParam,
    /// Fade-in of a note.
    #[id = "attack"]
    pub attack_ms: FloatParam,
    /// Fade-out of a note.
    #[id = "release"]
    pub release_ms: FloatParam,
    /// Counts changes that are no parameter's, so that hosts see that the project was changed.
    #[id = "revision"]
    pub revision: IntParam,
}

/// Of one adapter.
#[derive(Params)]
pub struct AdapterParameters {
    /// 0: not at all, 1: as trained.
    #[id = "strength"]
    pub strength: FloatParam,
}

impl AdapterParameters {
    fn new(number: usize) -> Self {
        Self {
            strength: FloatParam::new(
                format!("Adapter {number} strength"),
                1.0,
                FloatRange::Linear { min: 0.0, max: 2.0 },
            )
            .with_step_size(0.01),
        }
    }
}

impl Parameters {
    /// With their defaults; `hears_input` is that of the input's.
    pub fn new(hears_input: bool) -> Self {
        let gain_range = FloatRange::SymmetricalSkewed {
            min: -60.0,
            max: 12.0,
            factor: FloatRange::skew_factor(0.0),
            center: 0.0,
        };
        let milliseconds = |name: &str, default: f32| {
            FloatParam::new(
                name,
                default,
                FloatRange::Skewed {
                    min: 0.0,
                    max: 2000.0,
                    factor: FloatRange::skew_factor(-2.0),
                },
            )
            .with_unit(" ms")
            .with_step_size(0.1)
        };
        Self {
            project: SavedProject::default(),
            gain: FloatParam::new("Gain", 0.0, gain_range)
                .with_unit(" dB")
                .with_step_size(0.1),
            mode: EnumParam::new("Mode", PlayMode::Loop),
            variation: IntParam::new(
                "Variation",
                1,
                IntRange::Linear {
                    min: 1,
                    max: VARIATIONS as i32,
                },
            ),
            audition: BoolParam::new("Audition", false),
            hear_input: BoolParam::new("Hear input", hears_input),
            pad_a: BoolParam::new("Pad A", false),
            pad_b: BoolParam::new("Pad B", false),
            generate: BoolParam::new("Generate", false),
            bars: EnumParam::new("Bars", Bars::Four),
            key: IntParam::new(
                "Key",
                0,
                IntRange::Linear {
                    min: 0,
                    max: KEYS.len() as i32 - 1,
                },
            )
            .with_value_to_string(Arc::new(key_name))
            .with_string_to_value(Arc::new(|text| {
                let text = text.trim().to_lowercase().replace(' ', "-");
                KEYS.iter().position(|key| *key == text).map(|at| at as i32)
            })),
            seed: IntParam::new(
                "Seed",
                1,
                IntRange::Linear {
                    min: 0,
                    max: MOST_SEED,
                },
            ),
            seed_lock: BoolParam::new("Lock seed", false),
            adapters: [1, 2, 3, 4].map(AdapterParameters::new),
            root_note: IntParam::new("Root note", 60, IntRange::Linear { min: 0, max: 127 })
                .with_value_to_string(formatters::v2s_i32_key_formatter())
                .with_string_to_value(formatters::s2v_i32_key_formatter()),
            attack_ms: milliseconds("Attack", 5.0),
            release_ms: milliseconds("Release", 50.0),
            revision: IntParam::new(
                "Revision",
                0,
                IntRange::Linear {
                    min: 0,
                    max: MOST_SEED,
                },
            )
            .hide(),
        }
    }
}

fn key_name(at: i32) -> String {
    let key = usize::try_from(at).ok().and_then(|at| KEYS.get(at));
    key.unwrap_or(&KEYS[0]).to_string()
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Parameters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        let parameters = Parameters::new(false);
        let ids: Vec<String> = (parameters.param_map().into_iter())
            .map(|(id, _, _)| id)
            .collect();
        assert_eq!(
            ids.join(" "),
            "gain mode variation audition hear_input pad_a pad_b generate bars key seed seed_lock strength_1 strength_2 strength_3 strength_4 root_note attack release revision"
        );
    }
}
