//! Paints what egui made with OpenGL.

use std::sync::Arc;

use baseview::gl::GlContext;
use baseview::{HandlerError, WindowContext};
use egui::FullOutput;
use egui_glow::Painter;
use egui_glow::glow::{self, HasContext};

use crate::editor::theme;

/// Why there is no picture.
#[derive(Debug)]
struct NoOpenGl(String);

impl std::fmt::Display for NoOpenGl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "the window needs OpenGL 3.2 or newer: {}; install the graphics driver, or Mesa",
            self.0
        )
    }
}

impl std::error::Error for NoOpenGl {}

/// A window's painter.
pub(super) struct Renderer {
    context: GlContext,
    painter: Painter,
}

#[allow(unsafe_code)]
impl Renderer {
    pub(super) fn new(window: &WindowContext) -> Result<Self, HandlerError> {
        let context = window
            .gl_context()
            .ok_or_else(|| NoOpenGl("the system gives no context".to_owned()))?;
        // SAFETY: this thread has no other context that is current, and it made this window.
        unsafe { context.make_current()? };
        // SAFETY: the context is current while its functions are looked up.
        let gl = unsafe {
            glow::Context::from_loader_function_cstr(|symbol| context.get_proc_address(symbol))
        };
        let painter = Painter::new(Arc::new(gl), "", None, true)
            .map_err(|error| NoOpenGl(error.to_string()))?;
        // SAFETY: it is current since above.
        unsafe { context.make_not_current()? };
        Ok(Self { context, painter })
    }

    pub(super) fn most_texture_side(&self) -> usize {
        self.painter.max_texture_side()
    }

    /// Paints a frame and shows it.
    pub(super) fn paint(
        &mut self,
        context: &egui::Context,
        size: [u32; 2],
        pixels_per_point: f32,
        output: &mut FullOutput,
    ) -> Result<(), HandlerError> {
        // SAFETY: this thread has no other context that is current.
        unsafe { self.context.make_current()? };
        let [red, green, blue, alpha] = theme::NIGHT.to_normalized_gamma_f32();
        // SAFETY: the painter's functions are those of the current context.
        unsafe {
            let gl = self.painter.gl();
            gl.clear_color(red, green, blue, alpha);
            gl.clear(glow::COLOR_BUFFER_BIT);
        }
        for (id, deltas) in output.textures_delta.set.drain() {
            for delta in deltas {
                self.painter.set_texture(id, &delta);
            }
        }
        let shapes = std::mem::take(&mut output.shapes);
        let primitives = context.tessellate(shapes, pixels_per_point);
        self.painter
            .paint_primitives(size, pixels_per_point, &primitives);
        for id in output.textures_delta.free.drain() {
            self.painter.free_texture(id);
        }
        self.context.swap_buffers()?;
        // SAFETY: it is current since above.
        unsafe { self.context.make_not_current()? };
        Ok(())
    }
}

#[allow(unsafe_code)]
impl Drop for Renderer {
    fn drop(&mut self) {
        // SAFETY: as in `paint`; without a current context nothing could be freed.
        if unsafe { self.context.make_current() }.is_ok() {
            self.painter.destroy();
            // SAFETY: it is current since above.
            let _ = unsafe { self.context.make_not_current() };
        }
    }
}
