//! What the editor does: commands to the conductor, gestures to the host.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use nice_plug::context::gui::GuiContext;
use nice_plug::prelude::*;

use crate::parameters::{MOST_SEED, Parameters};
use crate::session::Command;

/// The way out of the editor.
pub(crate) struct Hands {
    context: GuiContext,
    commands: Sender<Command>,
    parameters: Arc<Parameters>,
    // A gesture that was begun and not ended would leave a host recording for ever.
    open: RefCell<Vec<ParamPtr>>,
}

impl Hands {
    pub(crate) fn new(
        context: GuiContext,
        commands: Sender<Command>,
        parameters: Arc<Parameters>,
    ) -> Self {
        Self {
            context,
            commands,
            parameters,
            open: RefCell::default(),
        }
    }

    /// Asks the conductor; the host learns that the project changes where it does.
    pub(crate) fn send(&self, command: Command) {
        let is_change = changes_project(&command);
        self.send_unmarked(command);
        if is_change {
            self.mark_changed();
        }
    }

    /// Asks the conductor; the host is not told yet.
    pub(crate) fn send_unmarked(&self, command: Command) {
        // A conductor that is gone takes no commands, and the window is about to close.
        let _ = self.commands.send(command);
    }

    /// Tells the host that the project changed in something that is no parameter.
    pub(crate) fn mark_changed(&self) {
        let revision = &self.parameters.revision;
        self.set_once(revision, (revision.value() + 1) % (MOST_SEED + 1));
    }

    /// The host may record what follows.
    pub(crate) fn begin<P: Param>(&self, parameter: &P) {
        self.context.param_setter().begin_set_parameter(parameter);
        self.open.borrow_mut().push(parameter.as_ptr());
    }

    /// Within a gesture.
    pub(crate) fn set<P: Param>(&self, parameter: &P, value: P::Plain) {
        self.context.param_setter().set_parameter(parameter, value);
    }

    /// The gesture is over.
    pub(crate) fn end<P: Param>(&self, parameter: &P) {
        if self.is_open(parameter) {
            let ended = parameter.as_ptr();
            self.open.borrow_mut().retain(|open| *open != ended);
            self.context.param_setter().end_set_parameter(parameter);
        }
    }

    /// A gesture of one step.
    pub(crate) fn set_once<P: Param>(&self, parameter: &P, value: P::Plain) {
        let is_within = self.is_open(parameter);
        if !is_within {
            self.begin(parameter);
        }
        self.set(parameter, value);
        if !is_within {
            self.end(parameter);
        }
    }

    /// Whether this parameter is in a gesture.
    pub(crate) fn is_open<P: Param>(&self, parameter: &P) -> bool {
        self.open.borrow().contains(&parameter.as_ptr())
    }

    /// Lets go of everything: the window lost its keyboard or is about to close.
    pub(crate) fn let_go(&self) {
        for pad in [&self.parameters.pad_a, &self.parameters.pad_b] {
            if self.is_open(pad) {
                self.set(pad, false);
            }
        }
        for open in self.open.take() {
            // SAFETY: all are pointers to parameters of `self.parameters`, which lives as long as `self`.
            #[allow(unsafe_code)]
            unsafe {
                self.context.raw_end_set_parameter(open);
            }
        }
    }

    /// Whether anything is held.
    pub(crate) fn holds(&self) -> bool {
        !self.open.borrow().is_empty()
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn changes_project(command: &Command) -> bool {
    !matches!(
        command,
        Command::Cancel(_)
            | Command::Export { .. }
            | Command::Learn { .. }
            | Command::ResumeLearning(_)
            | Command::DiscardRun(_)
            | Command::Refresh
            | Command::Dismiss(_)
    )
}
