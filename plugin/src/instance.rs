//! One instance in a host: what the instrument and the effect have in common.

use std::sync::Arc;

use nice_plug::prelude::{NoteEvent as PluginNote, *};
use protocol::Metre;

use crate::editor::{EditorLink, EditorWindow};
use crate::parameters::{Parameters, PlayMode};
use crate::playback::{Bar, Block, CaptureSender, NoteEvent, Player, Settings};
use crate::project::{FIRST_PAD, PADS, VARIATIONS};
use crate::session::{AudioEnds, OFFLINE_PATIENCE, Session};
use crate::standalone;

/// Notes of a block that are heard; a block with more is not played by hand.
const MOST_EVENTS: usize = 1024;
/// The keys that hold pads A and B in loop mode.
const PAD_KEYS: [u8; PADS] = [36, 37];
/// How long a tempo must stay in an offline render before clips are stretched to it, in quarter notes.
const OFFLINE_TEMPO_RESTS_QUARTERS: f64 = 1.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Instance {
    parameters: Arc<Parameters>,
    session: Session,
    capture: CaptureSender,
    player: Player,
    events: Vec<NoteEvent>,
    /// The block's input, left and right.
    input: [Vec<f32>; 2],
    held_pads: [bool; PADS],
    was_generate_on: bool,
    offline: Offline,
}

/// What an offline render keeps count of.
#[derive(Debug, Default)]
struct Offline {
    is_on: bool,
    tempo_bpm: Option<f64>,
    steady_quarters: f64,
    presses: u64,
}

impl Instance {
    /// A new one; `hears_input` if what comes in goes out by default.
    pub(crate) fn new(hears_input: bool) -> Self {
        let parameters = Arc::new(Parameters::new(hears_input));
        let library = process_path::get_dylib_path();
        let (session, AudioEnds { clips, capture }) =
            Session::new(Arc::clone(&parameters), library);
        if standalone::is_this_program() {
            session.shared().host.expect_blocks();
        }
        Self {
            parameters,
            session,
            capture,
            player: Player::new(48_000.0, clips),
            events: Vec::with_capacity(MOST_EVENTS),
            input: [Vec::new(), Vec::new()],
            held_pads: [false; PADS],
            was_generate_on: false,
            offline: Offline::default(),
        }
    }

    pub(crate) fn parameters(&self) -> Arc<Parameters> {
        Arc::clone(&self.parameters)
    }

    /// The window. It may be opened before sound is processed.
    pub(crate) fn editor(&mut self) -> EditorWindow {
        self.session.start();
        let shared = Arc::clone(self.session.shared());
        EditorWindow::new(EditorLink::new(
            self.parameters(),
            Arc::new(move || shared.view()),
            self.session.commands(),
            self.player.position(),
        ))
    }

    pub(crate) fn activate(&mut self, config: &BufferConfig) {
        self.session.start();
        self.prepare(config);
        self.session.shared().wake();
    }

    /// Makes room for blocks of any length the host may send, so that none allocates.
    fn prepare(&mut self, config: &BufferConfig) {
        let rate_hz = f64::from(config.sample_rate);
        let host = &self.session.shared().host;
        host.set_sample_rate_hz(rate_hz);
        let is_offline = config.process_mode == ProcessMode::Offline;
        host.set_offline(is_offline);
        self.offline = Offline {
            is_on: is_offline,
            presses: self.offline.presses,
            ..Offline::default()
        };
        let most = config.max_buffer_size as usize;
        self.input = [Vec::with_capacity(most), Vec::with_capacity(most)];
        self.player.set_sample_rate(rate_hz);
    }

    pub(crate) fn reset(&mut self) {
        self.player.reset();
        self.held_pads = [false; PADS];
    }

    pub(crate) fn latency_samples() -> u32 {
        Player::LATENCY_SAMPLES
    }

    /// One block: the clip in `output`, mixed with the input where that is heard. The input is the output's own content, or a side chain.
    pub(crate) fn process<P: Plugin>(
        &mut self,
        output: &mut Buffer,
        side_chain: Option<&Buffer<'_>>,
        context: &mut impl ProcessContext<P>,
    ) {
        let frames = output.samples();
        let input = match side_chain {
            Some(side_chain) => side_chain.as_slice_immutable(),
            None => output.as_slice_immutable(),
        };
        self.take_input(input, frames);
        self.collect_events(context);
        let block = self.tell_host(context.transport());
        self.watch_generate();
        if self.offline.is_on {
            self.wait_offline(&block, frames, context.transport().sample_rate);
        }
        let settings = self.settings();
        match output.as_slice() {
            [] => {}
            [mono] => {
                self.player
                    .process_mono(mono, &block, self.events.iter().copied(), &settings)
            }
            [left, right, ..] => {
                self.player.process(
                    [left, right],
                    &block,
                    self.events.iter().copied(),
                    &settings,
                );
            }
        }
        let [left, right] = &self.input;
        self.capture.push(left, right, self.player.frames_to_bar());
        if self.parameters.hear_input.value() {
            self.mix_input(output.as_slice());
        }
    }

    /// Copies the input aside before the output takes its place.
    fn take_input(&mut self, input: &[&mut [f32]], frames: usize) {
        for (channel, kept) in self.input.iter_mut().enumerate() {
            kept.clear();
            // A mono input is heard on both sides; a block is never longer than the host has said, so that there is room.
            let samples = input.get(channel).or(input.first());
            let samples = samples.map_or(&[][..], |samples| &samples[..]);
            let frames = frames.min(kept.capacity());
            kept.extend(samples.iter().copied().take(frames));
            kept.resize(frames, 0.0);
        }
    }

    fn mix_input(&self, output: &mut [&mut [f32]]) {
        for (samples, input) in output.iter_mut().zip(&self.input) {
            for (sample, input) in samples.iter_mut().zip(input) {
                *sample += if input.is_finite() { *input } else { 0.0 };
            }
        }
    }

    fn collect_events<P: Plugin>(&mut self, context: &mut impl ProcessContext<P>) {
        self.events.clear();
        while let Some(event) = context.next_event() {
            let event = match event {
                PluginNote::NoteOn {
                    timing,
                    key,
                    velocity,
                    ..
                } => NoteEvent::On {
                    offset: timing as usize,
                    key: key.number_or_middle_c(),
                    velocity,
                },
                PluginNote::NoteOff { timing, key, .. } => NoteEvent::Off {
                    offset: timing as usize,
                    key: key.number_or_middle_c(),
                },
                PluginNote::Choke { timing, key, .. } => NoteEvent::Choke {
                    offset: timing as usize,
                    key: key.number_or_middle_c(),
                },
                _ => continue,
            };
            self.hold_pads(event);
            // Room was made when the instance was.
            if self.events.len() < MOST_EVENTS {
                self.events.push(event);
            }
        }
    }

    fn hold_pads(&mut self, event: NoteEvent) {
        let (key, is_held) = match event {
            NoteEvent::On { key, .. } => (key, true),
            NoteEvent::Off { key, .. } | NoteEvent::Choke { key, .. } => (key, false),
        };
        if let Some(pad) = PAD_KEYS.iter().position(|pad_key| *pad_key == key) {
            self.held_pads[pad] = is_held;
        }
    }

    fn tell_host(&mut self, transport: &Transport) -> Block {
        let host = &self.session.shared().host;
        let tempo_bpm = transport
            .tempo
            .filter(|tempo| tempo.is_finite() && *tempo > 0.0);
        let metre = Metre::of_host(transport.time_sig_numerator, transport.time_sig_denominator);
        host.set_metre(metre);
        // Of a metre that no recipe has the bars are not known.
        let is_said = transport.time_sig_numerator == Some(metre.beats as i32)
            && transport.time_sig_denominator == Some(metre.unit as i32);
        let bar_start = transport.bar_start_pos_beats().filter(|_| is_said);
        host.count_block(transport.playing);
        if !self.offline.is_on {
            host.set_tempo_bpm(tempo_bpm.unwrap_or_default());
        }
        Block {
            is_playing: transport.playing,
            tempo_bpm,
            position_quarters: transport.pos_beats(),
            position_samples: transport.pos_samples,
            bar: bar_start.map(|start_quarters| Bar {
                start_quarters,
                quarters: metre.quarters(),
            }),
        }
    }

    /// The generate parameter is a button: what counts is that it goes on.
    fn watch_generate(&mut self) {
        let is_on = self.parameters.generate.value();
        if is_on && !self.was_generate_on {
            self.session.shared().host.press();
        }
        self.was_generate_on = is_on;
    }

    /// An offline render has time: it waits for clips that were asked for, and for clips at a tempo that stays. All of that is decided by
    /// what the host says and by counting, never by the clock, so that every render gives the same bytes.
    fn wait_offline(&mut self, block: &Block, frames: usize, sample_rate_hz: f32) {
        let shared = self.session.shared();
        let is_first = self.offline.tempo_bpm.is_none();
        let tempo_bpm = block.tempo_bpm.unwrap_or_default();
        if self.offline.tempo_bpm != Some(tempo_bpm) {
            self.offline.tempo_bpm = Some(tempo_bpm);
            self.offline.steady_quarters = 0.0;
        }
        let before = self.offline.steady_quarters;
        self.offline.steady_quarters +=
            frames as f64 / f64::from(sample_rate_hz) * tempo_bpm / 60.0;
        let rests = OFFLINE_TEMPO_RESTS_QUARTERS;
        let has_settled = before < rests && self.offline.steady_quarters >= rests;
        let presses = shared.host.presses();
        let is_asked = presses != self.offline.presses;
        self.offline.presses = presses;
        // Another project was put in the place of the one before; an offline render may lock.
        let project = self.parameters.project.lock();
        let is_restored = project.is_ok_and(|project| !project.is_known);
        if is_first || has_settled || is_asked || is_restored {
            shared.host.set_tempo_bpm(tempo_bpm);
            let ticket = shared.ask_to_settle();
            if !shared.settling.wait(ticket, OFFLINE_PATIENCE) {
                shared.host.wait_in_vain();
                shared.wake();
            }
        }
    }

    fn settings(&self) -> Settings {
        let parameters = &self.parameters;
        let is_loop = parameters.mode.value() == PlayMode::Loop;
        let pads = [parameters.pad_a.value(), parameters.pad_b.value()];
        let held = (0..PADS).rfind(|pad| pads[*pad] || (is_loop && self.held_pads[*pad]));
        let variation = usize::try_from(parameters.variation.value() - 1).unwrap_or_default();
        Settings {
            mode: parameters.mode.value(),
            slot: match held {
                Some(pad) => FIRST_PAD + pad,
                None => variation.min(VARIATIONS - 1),
            },
            audition: parameters.audition.value(),
            gain: util::db_to_gain(parameters.gain.value()),
            root_key: parameters.root_note.value().clamp(0, 127) as u8,
            attack_secs: parameters.attack_ms.value() / 1000.0,
            release_secs: parameters.release_ms.value() / 1000.0,
        }
    }
}

/// Buttons are never restored as held: a project that was saved in that moment would make a clip when it is opened.
pub(crate) fn release_buttons(state: &mut PluginState) {
    for button in ["generate", "pad_a", "pad_b"] {
        if let Some(value) = state.params.get_mut(button) {
            *value = nice_plug::plugin::ParamValue::Bool(false);
        }
    }
}

/// What instrument and effect do alike: all but their names and their inputs.
macro_rules! as_instance {
    () => {
        const VENDOR: &'static str = "Lorelei";
        const URL: &'static str = "";
        const EMAIL: &'static str = "";
        const VERSION: &'static str = env!("CARGO_PKG_VERSION");
        const MIDI_INPUT: MidiConfig = MidiConfig::Basic;
        const SAMPLE_ACCURATE_AUTOMATION: bool = true;

        type Editor = $crate::editor::EditorWindow;
        type SysExMessage = ();
        type BackgroundTask = ();

        fn params(&self) -> std::sync::Arc<dyn Params> {
            self.0.parameters()
        }

        fn editor(&mut self, _executor: AsyncExecutor<Self>) -> Option<Self::Editor> {
            Some(self.0.editor())
        }

        fn filter_state(state: &mut PluginState) {
            $crate::instance::release_buttons(state);
        }

        fn activate(
            &mut self,
            _layout: &AudioIOLayout,
            config: &BufferConfig,
            context: &mut impl ActivateContext<Self>,
        ) -> bool {
            self.0.activate(config);
            context.set_latency_samples(Instance::latency_samples());
            true
        }

        fn reset(&mut self) {
            self.0.reset();
        }

        fn process(
            &mut self,
            buffer: &mut Buffer,
            aux: &mut AuxiliaryBuffers,
            context: &mut impl ProcessContext<Self>,
        ) -> ProcessStatus {
            self.0.process(buffer, aux.inputs.first(), context);
            ProcessStatus::KeepAlive
        }
    };
}
pub(crate) use as_instance;

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;
    use nice_plug::context::process::SendEventError;
    use nice_plug::midi::{Channel, Key, VoiceID};

    use super::*;
    use crate::instrument::Lorelei;
    use crate::playback::capture;

    /// What a host says with a block.
    struct Said {
        transport: Transport,
        notes: Vec<PluginNote<()>>,
    }

    impl ProcessContext<Lorelei> for Said {
        fn plugin_api(&self) -> PluginApi {
            PluginApi::Clap
        }
        fn execute_background(&self, (): ()) {}
        fn execute_gui(&self, (): ()) {}
        fn transport(&self) -> &Transport {
            &self.transport
        }
        fn next_event(&mut self) -> Option<PluginNote<()>> {
            self.notes.pop()
        }
        fn try_send_event(
            &mut self,
            _: PluginNote<()>,
        ) -> Result<(), (PluginNote<()>, SendEventError)> {
            Ok(())
        }
        fn set_latency_samples(&self, _: u32) {}
        fn request_restart(&self) {}
        fn set_current_voice_capacity(&self, _: u32) {}
    }

    fn note(timing: u32) -> PluginNote<()> {
        PluginNote::NoteOn {
            timing,
            voice_id: VoiceID::Wildcard,
            channel: Channel::Number(0),
            key: Key::Number(36),
            velocity: 0.5,
        }
    }

    /// In bars of 3/4.
    fn rolling(position_quarters: f64) -> Transport {
        let mut transport = Transport::new(48_000.0);
        transport.playing = true;
        transport.tempo = Some(120.0);
        transport.time_sig_numerator = Some(3);
        transport.time_sig_denominator = Some(4);
        transport.bar_start_pos_beats = Some(9.0);
        transport.pos_beats = Some(position_quarters);
        transport
    }

    #[test]
    #[allow(unsafe_code)]
    fn no_part_of_a_block_allocates() {
        let mut instance = Instance::new(true);
        // As while the conductor listens.
        let (sender, mut receiver) = capture(1 << 16);
        receiver.arm();
        instance.capture = sender;
        instance.prepare(&BufferConfig {
            sample_rate: 48_000.0,
            min_buffer_size: None,
            max_buffer_size: 512,
            process_mode: ProcessMode::Realtime,
        });
        for channels in [2, 1, 0] {
            for block in 0..8 {
                let position = 9.0 + f64::from(block) * 512.0 / 24_000.0;
                let mut said = Said {
                    transport: rolling(position),
                    // More than are heard.
                    notes: (0..MOST_EVENTS as u32 + 10)
                        .map(|at| note(at % 512))
                        .collect(),
                };
                let mut samples = vec![vec![0.25; 512]; channels];
                let mut buffer = Buffer::default();
                // SAFETY: the slices are as long as is said.
                unsafe {
                    buffer.set_slices(512, |slices| {
                        *slices = samples.iter_mut().map(|channel| &mut channel[..]).collect();
                    });
                }
                assert_no_alloc(|| instance.process(&mut buffer, None, &mut said));
                // The effect lets its input through.
                assert_eq!(samples, vec![vec![0.25; 512]; channels]);
            }
        }
        assert!(instance.held_pads[0]);
        let mut heard = [vec![], vec![]];
        receiver.read(&mut heard);
        assert_eq!(heard[0].len(), 3 * 8 * 512);
    }
}
