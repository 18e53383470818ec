//! A host for the plugin as hosts load it: its library, by the CLAP interface.

use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clack_extensions::audio_ports_config::{AudioPortsConfigBuffer, PluginAudioPortsConfig};
use clack_extensions::gui::{
    GuiApiType, GuiConfiguration, GuiSize, HostGui, HostGuiImpl, PluginGui, Window,
};
use clack_extensions::params::{ParamInfoBuffer, PluginParams};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::PluginState;
use clack_host::events::event_types::{
    NoteOffEvent, NoteOnEvent, ParamValueEvent, TransportEvent, TransportFlags,
};
use clack_host::prelude::*;
use clack_host::process::StartedPluginAudioProcessor;
use clack_host::process::audio_buffers::{
    AudioPortBuffer, AudioPortBufferType, AudioPorts, InputChannel,
};
use clack_host::utils::{BeatTime, ClapId, SecondsTime};

/// The instrument's and the effect's ids.
pub(crate) const INSTRUMENT: &str = "org.lorelei.lorelei";
pub(crate) const EFFECT: &str = "org.lorelei.effect";

/// What the host's threads share.
#[derive(Default)]
pub(crate) struct Quiet {
    is_called: AtomicBool,
}

impl SharedHandler<'_> for Quiet {
    fn request_restart(&self) {}
    fn request_process(&self) {}
    fn request_callback(&self) {
        self.is_called.store(true, Ordering::Release);
    }
}

impl HostGuiImpl for Quiet {
    fn resize_hints_changed(&self) {}
    fn request_resize(&self, _new_size: GuiSize) -> Result<(), HostError> {
        Ok(())
    }
    fn request_show(&self) -> Result<(), HostError> {
        Ok(())
    }
    fn request_hide(&self) -> Result<(), HostError> {
        Ok(())
    }
    fn closed(&self, _was_destroyed: bool) {}
}

pub(crate) struct Host;

impl HostHandlers for Host {
    type Shared<'a> = Quiet;
    type MainThread<'a> = ();
    type AudioProcessor<'a> = ();

    fn declare_extensions(builder: &mut HostExtensions<Self>, _shared: &Self::Shared<'_>) {
        builder.register::<HostGui>();
    }
}

/// What the host says of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transport {
    pub(crate) is_playing: bool,
    pub(crate) tempo_bpm: f64,
    pub(crate) position_quarters: f64,
}

/// An instance in a host.
pub(crate) struct Rack {
    processor: Option<StartedPluginAudioProcessor<Host>>,
    instance: PluginInstance<Host>,
    pub(crate) rate_hz: f64,
    /// Where the bar under way is said to begin; its beats are said with it.
    pub(crate) bar: (f64, u16),
    events: EventBuffer,
}

/// Loads the library.
pub(crate) fn load(library: &Path) -> PluginEntry {
    // SAFETY: it is the library of this crate.
    #[allow(unsafe_code)]
    unsafe {
        PluginEntry::load(library).unwrap()
    }
}

impl Rack {
    pub(crate) fn new(entry: &PluginEntry, id: &str) -> Self {
        let host = HostInfo::new("Test rack", "Lorelei", "", "1").unwrap();
        let id = CString::new(id).unwrap();
        let instance =
            PluginInstance::<Host>::new(|_| Quiet::default(), |_| (), entry, &id, &host).unwrap();
        Self {
            processor: None,
            instance,
            rate_hz: 44_100.0,
            bar: (0.0, 4),
            events: EventBuffer::new(),
        }
    }

    pub(crate) fn activate(&mut self, rate_hz: f64, most_frames: u32) {
        self.rate_hz = rate_hz;
        let config = PluginAudioConfiguration {
            sample_rate: rate_hz,
            min_frames_count: 1,
            max_frames_count: most_frames,
        };
        let stopped = self.instance.activate(|_, _| (), config).unwrap();
        self.processor = Some(stopped.start_processing().unwrap());
    }

    pub(crate) fn deactivate(&mut self) {
        if let Some(processor) = self.processor.take() {
            self.instance.deactivate(processor.stop_processing());
        }
    }

    /// Renders offline from the next activation on.
    pub(crate) fn set_offline(&mut self) {
        let handle = self.instance.plugin_handle();
        let render = handle.get_extension::<PluginRender>().unwrap();
        render.set(&handle, RenderMode::Offline).unwrap();
    }

    /// Ids, names and steps of all parameters.
    pub(crate) fn parameters(&mut self) -> Vec<(ClapId, String, f64)> {
        let handle = self.instance.plugin_handle();
        let params = handle.get_extension::<PluginParams>().unwrap();
        let count = params.count(&handle);
        (0..count)
            .map(|index| {
                let mut buffer = ParamInfoBuffer::new();
                let info = params.get_info(&handle, index, &mut buffer).unwrap();
                let name = String::from_utf8_lossy(info.name).into_owned();
                (info.id, name, info.max_value)
            })
            .collect()
    }

    pub(crate) fn id_of(&mut self, name: &str) -> ClapId {
        let parameters = self.parameters();
        let found = parameters.iter().find(|(_, other, _)| other == name);
        found
            .unwrap_or_else(|| panic!("no parameter {name} in {parameters:?}"))
            .0
    }

    /// A parameter's value as the host counts it.
    pub(crate) fn value(&mut self, name: &str) -> f64 {
        let id = self.id_of(name);
        let handle = self.instance.plugin_handle();
        let params = handle.get_extension::<PluginParams>().unwrap();
        params.get_value(&handle, id).unwrap()
    }

    /// Sets a parameter at a sample of the next block.
    pub(crate) fn set(&mut self, name: &str, offset: u32, value: f64) {
        let id = self.id_of(name);
        self.events
            .push(&ParamValueEvent::new(offset, id, Pckn::match_all(), value));
    }

    pub(crate) fn note(&mut self, offset: u32, key: u16, is_on: bool) {
        let pckn = Pckn::new(0u16, 0u16, key, 0u32);
        match is_on {
            true => self.events.push(&NoteOnEvent::new(offset, pckn, 1.0)),
            false => self.events.push(&NoteOffEvent::new(offset, pckn, 1.0)),
        }
    }

    /// One block without input.
    pub(crate) fn process(&mut self, frames: usize, transport: Option<Transport>) -> [Vec<f32>; 2] {
        let silence = vec![0.0; frames];
        self.process_with(&[silence.clone(), silence], transport)
    }

    /// One block as long as its input.
    pub(crate) fn process_with(
        &mut self,
        input: &[Vec<f32>; 2],
        transport: Option<Transport>,
    ) -> [Vec<f32>; 2] {
        let mut output = input.clone();
        self.process_channels(&mut input.clone(), &mut output, transport);
        output
    }

    /// One block of any number of channels, all as long.
    pub(crate) fn process_channels(
        &mut self,
        input: &mut [Vec<f32>],
        output: &mut [Vec<f32>],
        transport: Option<Transport>,
    ) {
        output.iter_mut().for_each(|samples| samples.fill(f32::NAN));
        let mut inputs = AudioPorts::with_capacity(2, 1);
        let mut outputs = AudioPorts::with_capacity(2, 1);
        let port = AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_input_only(
                input
                    .iter_mut()
                    .map(|samples| InputChannel::variable(samples.as_mut_slice())),
            ),
        };
        let input_audio = inputs.with_input_buffers([port]);
        let mut output_audio = outputs.with_output_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(
                output.iter_mut().map(|samples| samples.as_mut_slice()),
            ),
        }]);
        let transport = transport.map(|transport| event(transport, self.bar));
        let mut said = EventBuffer::new();
        self.processor
            .as_mut()
            .unwrap()
            .process(
                &input_audio,
                &mut output_audio,
                &self.events.as_input(),
                &mut OutputEvents::from_buffer(&mut said),
                None,
                transport.as_ref(),
            )
            .unwrap();
        self.events.clear();
    }

    /// Chooses one of the layouts that the plugin has, before it is activated; how many there are.
    pub(crate) fn choose_layout(&mut self, index: u32) -> u32 {
        let handle = self.instance.plugin_handle();
        let layouts = handle.get_extension::<PluginAudioPortsConfig>().unwrap();
        let mut buffer = AudioPortsConfigBuffer::new();
        let layout = layouts.get(&handle, index, &mut buffer).unwrap();
        layouts.select(&handle, layout.id).unwrap();
        layouts.count(&handle)
    }

    /// Plays from a position for so many frames, in blocks of these lengths in turn.
    pub(crate) fn play(
        &mut self,
        frames: usize,
        blocks: &[usize],
        tempo_bpm: f64,
        from_quarters: f64,
    ) -> [Vec<f32>; 2] {
        let mut played = [Vec::new(), Vec::new()];
        let mut sizes = blocks.iter().cycle();
        while played[0].len() < frames {
            let at = played[0].len();
            let size = (*sizes.next().unwrap()).min(frames - at);
            let block = self.process(
                size,
                Some(Transport {
                    is_playing: true,
                    tempo_bpm,
                    position_quarters: from_quarters + at as f64 / self.rate_hz * tempo_bpm / 60.0,
                }),
            );
            for (all, block) in played.iter_mut().zip(block) {
                all.extend(block);
            }
        }
        played
    }

    /// What a host does on its main thread between other things.
    pub(crate) fn idle(&mut self) {
        let is_called = |quiet: &Quiet| quiet.is_called.swap(false, Ordering::AcqRel);
        if self.instance.access_shared_handler(is_called) {
            self.instance.call_on_main_thread_callback();
        }
    }

    /// Opens the window within another one of an X server.
    pub(crate) fn open_window(&mut self, parent: u32) {
        let handle = self.instance.plugin_handle();
        let gui = handle.get_extension::<PluginGui>().unwrap();
        let within = GuiConfiguration {
            api_type: GuiApiType::X11,
            is_floating: false,
        };
        assert!(gui.is_api_supported(&handle, within));
        gui.create(&handle, within).unwrap();
        let size = gui.get_size(&handle).unwrap();
        assert!(size.width >= 760 && size.height >= 520, "{size:?}");
        let parent = Window::from_x11_handle(parent.into());
        // SAFETY: the test keeps the window until this one is closed.
        #[allow(unsafe_code)]
        unsafe {
            gui.set_parent(&handle, parent).unwrap();
        }
        gui.show(&handle).unwrap();
    }

    /// Asks for another size of the open window; the one it has then.
    pub(crate) fn resize_window(&mut self, width: u32, height: u32) -> (u32, u32) {
        let handle = self.instance.plugin_handle();
        let gui = handle.get_extension::<PluginGui>().unwrap();
        assert!(gui.can_resize(&handle));
        let asked = GuiSize { width, height };
        let possible = gui.adjust_size(&handle, asked).unwrap();
        gui.set_size(&handle, possible).unwrap();
        (possible.width, possible.height)
    }

    pub(crate) fn close_window(&mut self) {
        let handle = self.instance.plugin_handle();
        let gui = handle.get_extension::<PluginGui>().unwrap();
        gui.destroy(&handle);
    }

    pub(crate) fn save(&mut self) -> Vec<u8> {
        let handle = self.instance.plugin_handle();
        let state = handle.get_extension::<PluginState>().unwrap();
        let mut saved = Vec::new();
        state.save(&handle, &mut saved).unwrap();
        saved
    }

    pub(crate) fn restore(&mut self, saved: &[u8]) {
        let handle = self.instance.plugin_handle();
        let state = handle.get_extension::<PluginState>().unwrap();
        state.load(&handle, &mut &saved[..]).unwrap();
    }

    /// Whether the plugin takes these bytes as its state.
    pub(crate) fn takes(&mut self, saved: &[u8]) -> bool {
        let handle = self.instance.plugin_handle();
        let state = handle.get_extension::<PluginState>().unwrap();
        state.load(&handle, &mut &saved[..]).is_ok()
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        self.deactivate();
    }
}

fn event(transport: Transport, bar: (f64, u16)) -> TransportEvent {
    let mut flags = TransportFlags::HAS_TEMPO
        | TransportFlags::HAS_BEATS_TIMELINE
        | TransportFlags::HAS_TIME_SIGNATURE;
    if transport.is_playing {
        flags |= TransportFlags::IS_PLAYING;
    }
    let position = BeatTime::from_float(transport.position_quarters);
    TransportEvent {
        header: clack_host::events::EventHeader::new_core(
            0,
            clack_host::events::EventFlags::empty(),
        ),
        flags,
        song_pos_beats: position,
        song_pos_seconds: SecondsTime::from_int(0),
        tempo: transport.tempo_bpm,
        tempo_inc: 0.0,
        loop_start_beats: BeatTime::from_int(0),
        loop_end_beats: BeatTime::from_int(0),
        loop_start_seconds: SecondsTime::from_int(0),
        loop_end_seconds: SecondsTime::from_int(0),
        bar_start: BeatTime::from_float(bar.0),
        bar_number: 0,
        time_signature_numerator: bar.1,
        time_signature_denominator: 4,
    }
}
