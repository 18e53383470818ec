//! What happens in an open window, all on its own thread.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use baseview::dpi::{LogicalSize, PhysicalPosition, Size};
use baseview::{
    DropData, DropEffect, Event, EventStatus, HandlerError, MouseEvent, ScrollDelta, TimerHandle,
    WindowContext, WindowEvent, WindowHandler, WindowSize,
};
use copypasta::{ClipboardContext, ClipboardProvider};
use egui::{RawInput, Rect, ViewportId, pos2, vec2};
use keyboard_types::{KeyState, KeyboardEvent};
use nice_plug::prelude::{ParamPtr, Params};

use super::Shared;
#[cfg(target_os = "linux")]
use super::host_keys::HostKeys;
use super::input::{self, Focus, Written};
use super::renderer::Renderer;
use crate::editor::hands::Hands;
use crate::editor::screen::{Drawn, Shown};
use crate::editor::{EditorLink, theme};
use crate::session::Command;

/// How often the window looks whether something changed; the play cursor moves as often.
const LOOK_INTERVAL: Duration = Duration::from_millis(33);
/// A frame that took a while is followed by a rest of this many times that while.
const REST_PER_FRAME: u32 = 1;
/// Zoom factors that Ctrl with plus and minus lead to.
const ZOOMS: std::ops::RangeInclusive<f32> = 0.5..=4.0;

/// An open window.
pub(super) struct Handler {
    // Fields are dropped in this order: what was painted before the window's own context.
    inner: RefCell<Inner>,
    input: RefCell<RawInput>,
    dropped: RefCell<Vec<PathBuf>>,
    pointer: Cell<Option<egui::Pos2>>,
    modifiers: Cell<egui::Modifiers>,
    timer: TimerHandle,
    // An X server never answers a frame that was asked for before the window is there, and baseview then waits for that answer for ever. It asks
    // for the first frame itself.
    may_ask_for_frames: Cell<bool>,
    #[cfg(target_os = "linux")]
    host_keys: RefCell<HostKeys>,
    window: WindowContext,
}

struct Inner {
    renderer: Renderer,
    context: egui::Context,
    hands: Hands,
    link: EditorLink,
    shared: Arc<Shared>,
    values: Vec<ParamPtr>,
    drawn: Option<Drawn>,
    // Made with the first copy or paste: it is slow to come.
    clipboard: Option<ClipboardContext>,
    cursor: baseview::MouseCursor,
    began: Instant,
    asked: Option<Instant>,
    drawn_at: Instant,
    frame_cost: Duration,
}

impl Handler {
    pub(super) fn new(
        window: WindowContext,
        link: EditorLink,
        shared: Arc<Shared>,
        hands: Hands,
        asked: Instant,
    ) -> Result<Self, HandlerError> {
        let renderer = Renderer::new(&window)?;
        let context = egui::Context::default();
        theme::apply(&context);
        // Before the first frame, whose size would be wrong else.
        context.options_mut(|options| options.zoom_factor = shared.zoom());
        let waker = window.waker();
        context.set_request_repaint_callback(move |asked| waker.request_redraw_after(asked.delay));
        let mut input = RawInput {
            max_texture_side: Some(renderer.most_texture_side()),
            ..RawInput::default()
        };
        let viewport = egui::ViewportInfo {
            title: Some("Lorelei".to_owned()),
            focused: Some(true),
            ..egui::ViewportInfo::default()
        };
        input.viewports.insert(ViewportId::default(), viewport);
        let values = link.parameters.param_map();
        let values = values.into_iter().map(|(_, value, _)| value).collect();
        let timer = window.create_timer(LOOK_INTERVAL)?;
        // Starts the engine where none runs: its tags, models and adapters are what a musician picks from.
        hands.send(Command::Refresh);
        Ok(Self {
            inner: RefCell::new(Inner {
                renderer,
                context,
                hands,
                link,
                shared,
                values,
                drawn: None,
                clipboard: None,
                cursor: baseview::MouseCursor::Default,
                began: Instant::now(),
                asked: Some(asked),
                drawn_at: Instant::now(),
                frame_cost: Duration::ZERO,
            }),
            input: RefCell::new(input),
            dropped: RefCell::default(),
            pointer: Cell::new(None),
            modifiers: Cell::default(),
            timer,
            may_ask_for_frames: Cell::new(cfg!(not(target_os = "linux"))),
            #[cfg(target_os = "linux")]
            host_keys: RefCell::new(HostKeys::of(&window)),
            window,
        })
    }

    fn ask_for_frame(&self) {
        if self.may_ask_for_frames.get() {
            self.window.request_redraw();
        }
    }

    fn take_input(&self, context: &egui::Context, began: Instant) -> RawInput {
        let size = self.window.size();
        let zoom = context.zoom_factor();
        let points: LogicalSize<f32> = size
            .physical
            .to_logical(size.scale_factor * f64::from(zoom));
        let mut input = self.input.borrow_mut();
        let whole = Rect::from_min_size(pos2(0.0, 0.0), vec2(points.width, points.height));
        input.time = Some(began.elapsed().as_secs_f64());
        input.screen_rect = Some(whole);
        input.focused = self.window.has_focus();
        if let Some(viewport) = input.viewports.get_mut(&ViewportId::default()) {
            viewport.native_pixels_per_point = Some(size.scale_factor as f32);
            viewport.inner_rect = Some(whole);
            viewport.focused = Some(self.window.has_focus());
        }
        input.take()
    }

    fn hold(&self, held: keyboard_types::Modifiers) -> egui::Modifiers {
        let held = input::modifiers(held);
        if self.modifiers.replace(held) != held {
            self.push(egui::Event::ModifiersChanged(held));
        }
        held
    }

    fn push(&self, event: egui::Event) {
        self.input.borrow_mut().events.push(event);
    }

    fn point(&self, at: PhysicalPosition<f64>) -> egui::Pos2 {
        let zoom = self.inner.borrow().context.zoom_factor();
        let at = at.to_logical::<f32>(self.window.scale_factor() * f64::from(zoom));
        let at = pos2(at.x, at.y);
        self.pointer.set(Some(at));
        at
    }

    fn focus(&self) -> Focus {
        let context = &self.inner.borrow().context;
        match context.memory(|memory| memory.focused()) {
            Some(_) if context.text_edit_focused() => Focus::Text,
            Some(_) => Focus::Control,
            None if self
                .inner
                .borrow()
                .shared
                .screen()
                .is_something_open(context) =>
            {
                Focus::Open
            }
            None => Focus::Nothing,
        }
    }

    fn on_mouse(&self, event: MouseEvent) -> EventStatus {
        match event {
            MouseEvent::CursorMoved {
                position,
                modifiers,
            } => {
                self.hold(modifiers);
                let at = self.point(position);
                self.push(egui::Event::PointerMoved(at));
            }
            MouseEvent::ButtonPressed { button, modifiers } => {
                self.on_button(button, true, modifiers);
            }
            MouseEvent::ButtonReleased { button, modifiers } => {
                self.on_button(button, false, modifiers);
            }
            MouseEvent::WheelScrolled { delta, modifiers } => self.on_wheel(delta, modifiers),
            MouseEvent::CursorLeft => {
                self.pointer.set(None);
                self.push(egui::Event::PointerGone);
            }
            MouseEvent::DragEntered { data, .. } | MouseEvent::DragMoved { data, .. } => {
                return match data {
                    DropData::Files(files) if !files.is_empty() => {
                        EventStatus::AcceptDrop(DropEffect::Copy)
                    }
                    _ => EventStatus::Ignored,
                };
            }
            MouseEvent::DragDropped { data, .. } => {
                let DropData::Files(files) = data else {
                    return EventStatus::Ignored;
                };
                self.dropped.borrow_mut().extend(files);
                self.ask_for_frame();
                return EventStatus::AcceptDrop(DropEffect::Copy);
            }
            _ => return EventStatus::Ignored,
        }
        self.ask_for_frame();
        EventStatus::Captured
    }

    fn on_button(
        &self,
        button: baseview::MouseButton,
        pressed: bool,
        modifiers: keyboard_types::Modifiers,
    ) {
        let modifiers = self.hold(modifiers);
        if let (Some(pos), Some(button)) = (self.pointer.get(), input::button(button)) {
            self.push(egui::Event::PointerButton {
                pos,
                button,
                pressed,
                modifiers,
            });
        }
    }

    fn on_wheel(&self, delta: ScrollDelta, modifiers: keyboard_types::Modifiers) {
        let modifiers = self.hold(modifiers);
        let (unit, delta) = match delta {
            ScrollDelta::Lines { x, y } => (egui::MouseWheelUnit::Line, vec2(x, y)),
            ScrollDelta::Pixels { x, y } => (
                egui::MouseWheelUnit::Point,
                vec2(x, y) / self.window.scale_factor() as f32,
            ),
        };
        self.push(egui::Event::MouseWheel {
            unit,
            delta,
            modifiers,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Unknown,
        });
    }

    fn on_key(&self, event: &KeyboardEvent) -> EventStatus {
        let modifiers = self.hold(event.modifiers);
        let key = input::key(&event.key);
        if !input::takes(self.focus(), key, modifiers) {
            #[cfg(target_os = "linux")]
            self.host_keys.borrow_mut().give(event);
            return EventStatus::Ignored;
        }
        // Keys that come with the pointer alone would walk through controls unseen.
        if key == Some(egui::Key::Tab)
            && !self.window.has_focus()
            && let Err(error) = self.window.focus()
        {
            tracing::warn!("the window does not get the keyboard: {error}");
        }
        if let Some(key) = key {
            self.push(egui::Event::Key {
                key,
                physical_key: None,
                pressed: event.state == KeyState::Down,
                repeat: event.repeat,
                modifiers,
            });
        }
        match input::written(event, modifiers) {
            Written::Nothing => {}
            Written::Copy => self.push(egui::Event::Copy),
            Written::Cut => self.push(egui::Event::Cut),
            Written::Letters(letters) => self.push(egui::Event::Text(letters)),
            Written::Paste => {
                let pasted = self.inner.borrow_mut().pasted();
                if let Some(pasted) = pasted {
                    self.push(egui::Event::Paste(pasted));
                }
            }
        }
        self.ask_for_frame();
        EventStatus::Captured
    }

    fn on_window(&self, event: &WindowEvent) {
        match event {
            WindowEvent::Focused => self.push(egui::Event::WindowFocused(true)),
            WindowEvent::Unfocused => {
                // The key that would let go of a pad goes to another window now.
                self.inner.borrow().hands.let_go();
                self.push(egui::Event::WindowFocused(false));
            }
            WindowEvent::WillClose => {
                let inner = self.inner.borrow();
                if let Some(rename) = inner.shared.screen().take_name() {
                    inner.hands.send(rename);
                }
                inner.hands.let_go();
            }
            _ => {}
        }
        self.ask_for_frame();
    }

    fn rezoom(&self, inner: &Inner, before: f32) {
        let zoom = inner.context.zoom_factor();
        let allowed = zoom.clamp(*ZOOMS.start(), *ZOOMS.end());
        if allowed != zoom {
            inner.context.set_zoom_factor(allowed);
        }
        if allowed == before {
            return;
        }
        inner
            .shared
            .zoom
            .store(allowed.to_bits(), Ordering::Relaxed);
        let size = self.window.size().logical;
        let factor = f64::from(allowed / before);
        let size = LogicalSize::new(size.width * factor, size.height * factor);
        if let Err(error) = self.window.resize(Size::Logical(size)) {
            tracing::warn!("the window keeps its size: {error}");
        }
    }
}

impl Inner {
    fn clipboard(&mut self) -> Option<&mut ClipboardContext> {
        if self.clipboard.is_none() {
            self.clipboard = ClipboardContext::new()
                .inspect_err(|error| tracing::warn!("no clipboard: {error}"))
                .ok();
        }
        self.clipboard.as_mut()
    }

    fn pasted(&mut self) -> Option<String> {
        self.clipboard()?.get_contents().ok()
    }

    fn now(&self) -> Drawn {
        let view = (self.link.view)();
        Drawn::of(&view, &self.values, self.link.playing.get())
    }

    fn run(&mut self, input: RawInput, dropped: Vec<PathBuf>) -> egui::FullOutput {
        let view = (self.link.view)();
        let playing = self.link.playing.get();
        self.drawn = Some(Drawn::of(&view, &self.values, playing));
        let shared = Arc::clone(&self.shared);
        let mut screen = shared.screen();
        if !dropped.is_empty() {
            screen.drop_files(dropped, &self.hands);
        }
        let shown = Shown {
            view: &view,
            parameters: &self.link.parameters,
            hands: &self.hands,
            playing,
        };
        let output = self.context.run_ui(input, |ui| screen.show(ui, &shown));
        let is_any_down = self.context.input(|input| input.pointer.any_down());
        // A control that went away in the middle of a drag cannot end it.
        let has_focus = self.context.memory(|memory| memory.focused().is_some());
        if self.hands.holds() && !is_any_down && !has_focus {
            self.hands.let_go();
        }
        output
    }

    fn obey(&mut self, commands: Vec<egui::OutputCommand>) {
        for command in commands {
            if let egui::OutputCommand::CopyText(text) = command
                && let Some(clipboard) = self.clipboard()
                && let Err(error) = clipboard.set_contents(text)
            {
                tracing::warn!("nothing was copied: {error}");
            }
        }
    }
}

impl WindowHandler for Handler {
    fn draw(&self) -> Result<(), HandlerError> {
        self.may_ask_for_frames.set(true);
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let began = Instant::now();
        let zoom = inner.context.zoom_factor();
        let input = self.take_input(&inner.context, inner.began);
        let mut output = inner.run(input, self.dropped.take());
        self.rezoom(inner, zoom);
        let size = self.window.size();
        let pixels_per_point = output.pixels_per_point;
        let physical = [size.physical.width, size.physical.height];
        inner
            .renderer
            .paint(&inner.context, physical, pixels_per_point, &mut output)?;
        inner
            .link
            .figures
            .frames_drawn
            .fetch_add(1, Ordering::Relaxed);
        inner.drawn_at = Instant::now();
        inner.frame_cost = began.elapsed();
        if let Some(asked) = inner.asked.take() {
            let millis = asked.elapsed().as_millis() as u64;
            inner.link.figures.open_ms.store(millis, Ordering::Relaxed);
        }
        inner.obey(std::mem::take(&mut output.platform_output.commands));
        let cursor = input::cursor(output.platform_output.cursor_icon);
        if inner.cursor != cursor {
            inner.cursor = cursor;
            self.window.set_mouse_cursor(cursor)?;
        }
        // Only a text field needs the keyboard; taking it sooner would take it from the host.
        if inner.context.text_edit_focused() && !self.window.has_focus() {
            self.window.focus()?;
        }
        Ok(())
    }

    fn resized(&self, new_size: WindowSize) -> Result<(), HandlerError> {
        let inner = self.inner.borrow();
        let scale = new_size.scale_factor;
        inner.shared.scale.store(scale.to_bits(), Ordering::Relaxed);
        let zoom = f64::from(inner.context.zoom_factor());
        let points: LogicalSize<u32> = new_size.physical.to_logical(scale * zoom);
        if let Ok(mut project) = inner.link.parameters.project.lock() {
            project.editor_size = (points.width, points.height);
        }
        Ok(())
    }

    fn on_event(&self, event: Event) -> EventStatus {
        match event {
            Event::Mouse(event) => self.on_mouse(event),
            Event::Keyboard(event) => self.on_key(&event),
            Event::Window(event) => {
                self.on_window(&event);
                EventStatus::Captured
            }
            _ => EventStatus::Ignored,
        }
    }

    fn on_timer(&self, timer: &TimerHandle) {
        if *timer != self.timer {
            return;
        }
        let inner = self.inner.borrow();
        // Where the processor does what a graphics card should, the play cursor takes fewer and larger steps.
        if inner.drawn_at.elapsed() < inner.frame_cost * REST_PER_FRAME {
            return;
        }
        if inner.drawn.as_ref() != Some(&inner.now()) {
            self.ask_for_frame();
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let inner = self.inner.borrow();
        let mut screen = inner.shared.screen();
        // A window that was not told that it closes; the host may be past hearing of a change.
        if let Some(rename) = screen.take_name() {
            inner.hands.send_unmarked(rename);
        }
        screen.close();
    }
}
