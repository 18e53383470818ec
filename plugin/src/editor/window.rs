//! The system's window: OpenGL, keys, dropped files. It draws when something changed, and else it rests.

mod handler;
#[cfg(target_os = "linux")]
mod host_keys;
mod input;
mod renderer;
mod threads;

use std::error::Error;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use baseview::dpi::{LogicalSize, Size};
use baseview::{WindowSettings, host};
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize as EditorSize, NativeSize};
use nice_plug::editor::{
    Editor, EditorHandle, HostCallbacks, HostMainThreadCaller, HostMethods, ParentWindowHandle,
    ResizeHint, SpawnedEditor,
};

use super::EditorLink;
use super::hands::Hands;
use super::layout::LEAST_SIZE;
use super::screen::Screen;
use crate::standalone;
use handler::Handler;
use threads::WindowThreads;

/// A saved size beyond this is no window's.
const MOST_SIDE: u32 = 8192;

/// The plugin's window, open or not.
pub struct EditorWindow {
    link: EditorLink,
    shared: Arc<Shared>,
}

/// What outlives one opening.
struct Shared {
    screen: Mutex<Screen>,
    // Bits of an f64: physical pixels to a logical one.
    scale: AtomicU64,
    // Bits of an f32.
    zoom: AtomicU32,
    threads: WindowThreads,
}

impl Shared {
    fn screen(&self) -> MutexGuard<'_, Screen> {
        // A screen that panicked half-way is drawn anew in the next frame.
        self.screen
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn scale(&self) -> f64 {
        f64::from_bits(self.scale.load(Ordering::Relaxed))
    }

    fn zoom(&self) -> f32 {
        f32::from_bits(self.zoom.load(Ordering::Relaxed))
    }
}

impl EditorWindow {
    /// A window that is not open yet.
    pub fn new(link: EditorLink) -> Self {
        Self {
            link,
            shared: Arc::new(Shared {
                screen: Mutex::default(),
                scale: AtomicU64::new(1.0_f64.to_bits()),
                zoom: AtomicU32::new(1.0_f32.to_bits()),
                threads: WindowThreads::default(),
            }),
        }
    }

    /// The same at another zoom factor, which Ctrl with plus and minus change as well.
    pub fn with_zoom(self, zoom: f32) -> Self {
        let zoom = zoom.clamp(0.5, 4.0);
        self.shared.zoom.store(zoom.to_bits(), Ordering::Relaxed);
        self
    }

    // Read whenever it is needed: hosts may open a window before they restore the project.
    fn logical_size(&self) -> LogicalSize<f64> {
        let project = self.link.parameters.project.lock();
        let (width, height) = match project {
            Ok(project) => project.editor_size,
            Err(poisoned) => poisoned.into_inner().editor_size,
        };
        let zoom = f64::from(self.shared.zoom());
        let side = |saved: u32, least: f32| {
            let side = saved.clamp(least as u32, MOST_SIDE);
            f64::from(side) * zoom
        };
        LogicalSize::new(side(width, LEAST_SIZE.x), side(height, LEAST_SIZE.y))
    }

    fn settings(
        &self,
        parent: Option<&ParentWindowHandle>,
        wait_for_parent: bool,
        fallback_scale_factor: Option<f64>,
    ) -> WindowSettings {
        let least = Size::Logical(LogicalSize::new(
            f64::from(LEAST_SIZE.x),
            f64::from(LEAST_SIZE.y),
        ));
        WindowSettings::new()
            .with_title("Lorelei")
            .with_size(self.logical_size())
            .with_min_size::<Size>(Some(least))
            .with_resizable(true)
            .with_parent(parent)
            .with_wait_for_parent(wait_for_parent)
            .with_fallback_scale_factor(fallback_scale_factor)
            .with_gl_config(baseview::gl::GlConfig {
                // The smallest there is: nothing here has depth.
                depth_bits: 0,
                stencil_bits: 0,
                ..baseview::gl::GlConfig::default()
            })
    }
}

impl Drop for EditorWindow {
    fn drop(&mut self) {
        // Their code may be unloaded with the plugin.
        self.shared.threads.wait_until_gone();
    }
}

impl Editor for EditorWindow {
    type Handle = EditorWindowHandle;

    fn spawn(
        &self,
        parent: Option<ParentWindowHandle>,
        wait_for_parent: bool,
        fallback_scale_factor: Option<f64>,
        gui_context: GuiContext,
        host: Option<HostMethods>,
    ) -> Result<SpawnedEditor<Self::Handle>, Box<dyn Error>> {
        let asked = Instant::now();
        let link = self.link.clone();
        let shared = Arc::clone(&self.shared);
        let settings = self.settings(parent.as_ref(), wait_for_parent, fallback_scale_factor);
        let hands = Hands::new(
            gui_context,
            link.commands.clone(),
            Arc::clone(&link.parameters),
        );
        let window = baseview::Window::create_with_host(
            settings,
            move |window| {
                shared.threads.enter();
                Handler::new(window, link, shared, hands, asked)
            },
            host.map(adapt),
        )?;
        Ok(SpawnedEditor {
            handle: EditorWindowHandle,
            window,
        })
    }

    fn size(&self) -> NativeSize<u32> {
        let size = self.logical_size();
        let size = EditorSize::new(size.width, size.height);
        NativeSize::from_size(size.into(), self.shared.scale())
    }

    fn resize_hint(&self) -> ResizeHint {
        let least = EditorSize::new(LEAST_SIZE.x, LEAST_SIZE.y);
        ResizeHint::RESIZABLE.with_min_logical_size(least)
    }

    #[allow(unsafe_code)]
    unsafe fn assume_standalone_in_process(&self) {
        // SAFETY: the caller promises the same that is asked for here.
        unsafe { baseview::assume_standalone_in_process() }
    }
}

/// A window that is open.
pub struct EditorWindowHandle;

impl EditorHandle for EditorWindowHandle {
    type Window = baseview::Window;
    type Error = baseview::Error;

    fn run_until_closed(window: Self::Window) -> Result<(), Self::Error> {
        let closed = window.run_until_closed();
        standalone::end_in_time(closed.is_ok());
        closed
    }

    fn set_parent(
        &self,
        parent: ParentWindowHandle,
        window: &Self::Window,
    ) -> Result<(), Self::Error> {
        window.set_parent(&parent)
    }

    fn show(&self, window: &Self::Window) -> Result<(), Self::Error> {
        window.show()?;
        // On X11 a shown window is drawn by itself, and asking too soon is never answered (see `Handler`).
        if cfg!(not(target_os = "linux")) {
            window.waker().request_redraw();
        }
        Ok(())
    }

    fn hide(&self, window: &Self::Window) -> Result<(), Self::Error> {
        window.hide()
    }

    fn set_size(
        &self,
        new_size: NativeSize<u32>,
        window: &Self::Window,
    ) -> Result<(), Self::Error> {
        window.resize(baseview::dpi::NativeSize::new(
            new_size.width,
            new_size.height,
        ))
    }

    fn host_main_thread_callback(&self, window: &Self::Window) {
        window.host_main_thread_callback();
    }

    fn adjust_size(
        &self,
        new_size: NativeSize<u32>,
        window: &Self::Window,
    ) -> Option<NativeSize<u32>> {
        let asked = baseview::dpi::NativeSize::new(new_size.width, new_size.height);
        let scale = window.size().scale_factor;
        let least: baseview::dpi::NativeSize<u32> = baseview::dpi::NativeSize::from_size(
            LogicalSize::new(f64::from(LEAST_SIZE.x), f64::from(LEAST_SIZE.y)).into(),
            scale,
        );
        Some(NativeSize::new(
            asked.width.max(least.width),
            asked.height.max(least.height),
        ))
    }

    fn set_fallback_scale_factor(
        &self,
        scale_factor: f64,
        window: &Self::Window,
    ) -> Result<(), Self::Error> {
        window.suggest_fallback_scale_factor(scale_factor)
    }

    // The window looks itself whether something changed; hosts are not all to be trusted with saying so.
    fn param_value_changed(&self, _id: &str, _normalized_value: f32) {}

    fn param_modulation_changed(&self, _id: &str, _modulation_offset: f32) {}
}

struct Callbacks(Box<dyn HostCallbacks>);

impl host::HostCallbacks for Callbacks {
    fn request_resize(
        &mut self,
        new_size: baseview::WindowSize,
    ) -> Result<(), baseview::HandlerError> {
        let size = nice_plug::editor::dpi::PhysicalSize::new(
            new_size.physical.width,
            new_size.physical.height,
        );
        self.0
            .request_resize(size.into(), new_size.scale_factor)
            .map_err(baseview::HandlerError::from_boxed)
    }

    fn destroyed(&mut self) {
        self.0.destroyed();
    }
}

struct MainThread(Box<dyn HostMainThreadCaller>);

impl host::HostMainThreadCaller for MainThread {
    fn call_main_thread(&mut self) {
        self.0.call_main_thread();
    }
}

// The plugin's library and the window's have the same traits under two names.
fn adapt(methods: HostMethods) -> host::Host {
    host::Host::new()
        .with_callbacks(Callbacks(methods.callbacks))
        .with_main_thread(MainThread(methods.main_thread_caller))
}
