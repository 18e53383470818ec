//! Training an adapter on recordings.

use std::path::PathBuf;

use egui::{Align2, Id, Rect, RichText, ScrollArea, TextEdit, Ui, vec2};
use protocol::{LearnRequest, RunInfo};

use crate::editor::layout;
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{
    Icon, Look, area, button, caption, icon_button, panel, progress, row, words,
};
use crate::session::{Command, JobKind};

/// What was gathered for training.
#[derive(Default)]
pub(crate) struct LearnSheet {
    pub(crate) is_open: bool,
    pub(crate) recordings: Vec<PathBuf>,
    name: String,
    path: String,
    steps: String,
    /// A run whose deletion waits to be confirmed.
    discarding: Option<String>,
    /// Why the path that was written is not in the list.
    path_problem: Option<String>,
    /// Number of the last [`View::not_learned`](crate::session::View::not_learned) that was given back.
    given_back: u64,
}

impl LearnSheet {
    /// What was gathered stays for the next time.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
        self.discarding = None;
    }

    /// What could not be learned comes back, unless something else was gathered since.
    fn give_back(&mut self, not_learned: Option<&(u64, LearnRequest)>) {
        let Some((number, request)) = not_learned else {
            return;
        };
        if *number != self.given_back && self.recordings.is_empty() {
            self.recordings.clone_from(&request.recordings);
            self.name.clone_from(&request.name);
        }
        self.given_back = *number;
    }

    /// A path that was written by hand; a file or folder that is not there stays in the field, with the reason.
    fn add_written(&mut self) {
        let path = PathBuf::from(self.path.trim());
        match path.try_exists() {
            Ok(true) => {
                self.add(vec![path]);
                self.path.clear();
                self.path_problem = None;
            }
            Ok(false) => self.path_problem = Some("There is no such file or folder.".to_owned()),
            Err(error) => self.path_problem = Some(format!("It cannot be opened: {error}.")),
        }
    }

    /// More recordings; those that are there already stay once.
    pub(crate) fn add(&mut self, recordings: Vec<PathBuf>) {
        for recording in recordings {
            if self.name.is_empty()
                && let Some(stem) = recording.file_stem()
            {
                self.name = stem.to_string_lossy().chars().take(60).collect();
            }
            if !self.recordings.contains(&recording) {
                self.recordings.push(recording);
            }
        }
        self.is_open = true;
    }

    /// Steps that were written: none where the field is empty.
    fn steps(&self) -> Result<Option<u32>, &'static str> {
        match self.steps.trim() {
            "" => Ok(None),
            steps => match steps.parse::<u32>() {
                Ok(steps) if steps > 0 => Ok(Some(steps)),
                _ => Err("Steps are a whole number, such as 1500; or leave them empty."),
            },
        }
    }

    /// What is missing before training can begin.
    fn problem(&self) -> Option<&'static str> {
        if self.recordings.is_empty() {
            return Some("Drop recordings or a folder of them on the window.");
        }
        if self.name.trim().is_empty() {
            return Some("Give the style a name.");
        }
        self.steps().err()
    }
}

/// The sheet.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    area(ui, rect.shrink(theme::PADDING), "learn", |ui| {
        let top = row(ui, 24.0);
        let title = "Learn a style from recordings";
        let (font, ink) = (theme::title(), theme::TEXT);
        words(ui, top, Align2::LEFT_CENTER, title, font, ink);
        let close = Rect::from_min_max(top.right_top() - vec2(24.0, 0.0), top.right_bottom());
        if icon_button(
            ui,
            close,
            "close",
            Icon::Cross,
            Look::Flat,
            "Close (Escape)",
        )
        .clicked()
        {
            screen.learn.close();
        }
        ScrollArea::vertical()
            .id_salt("learn")
            .auto_shrink(false)
            .show(ui, |ui| {
                at_work(ui, shown);
                screen.learn.give_back(shown.view.not_learned.as_ref());
                gather(ui, &mut screen.learn);
                start(ui, shown, &mut screen.learn);
                runs(ui, shown, &mut screen.learn);
            });
    });
}

fn at_work(ui: &mut Ui, shown: &Shown<'_>) {
    for job in &shown.view.jobs {
        if job.kind != JobKind::Learning {
            continue;
        }
        let place = row(ui, theme::ROW);
        let stop = Rect::from_min_max(place.right_top() - vec2(70.0, 0.0), place.right_bottom());
        let line = Rect::from_min_max(place.min, stop.left_bottom() - vec2(8.0, 0.0));
        let text = match job.text.is_empty() {
            true => job.phase.clone(),
            false => format!("{} \u{00b7} {}", job.phase, job.text),
        };
        let (font, ink) = (theme::body(), theme::TEXT);
        words(ui, line, Align2::LEFT_CENTER, &text, font, ink);
        let tip = "Stop here; what was learnt is kept, and the run can go on later";
        let salt = format!("stop-{}", job.job);
        if button(ui, stop, &salt, "Stop", Look::Plain)
            .on_hover_text(tip)
            .clicked()
        {
            shown.hands.send(Command::Cancel(job.job));
        }
        let bar = row(ui, 6.0);
        progress(ui, bar, job.share);
        ui.add_space(6.0);
    }
}

fn gather(ui: &mut Ui, sheet: &mut LearnSheet) {
    caption(
        ui,
        "Recordings: drop files or folders, or write a path and press Enter",
    );
    let edit = TextEdit::singleline(&mut sheet.path)
        .id(Id::unique("recording path"))
        .hint_text("/home/me/music/my band")
        .margin(egui::Margin::symmetric(8, 6))
        .desired_width(f32::INFINITY)
        .char_limit(4096);
    let response = ui.add(edit);
    let is_entered = response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
    if is_entered && !sheet.path.trim().is_empty() {
        sheet.add_written();
        // For the next one, or to mend this one.
        response.request_focus();
    }
    if response.changed() {
        sheet.path_problem = None;
    }
    if let Some(problem) = &sheet.path_problem {
        let text = RichText::new(problem).font(theme::small());
        ui.add(egui::Label::new(text.color(theme::PROBLEM)).wrap());
    }
    let mut removed = None;
    for (at, recording) in sheet.recordings.iter().enumerate().take(200) {
        let place = row(ui, 20.0);
        let away = Rect::from_min_max(place.right_top() - vec2(20.0, 0.0), place.right_bottom());
        let line = Rect::from_min_max(place.min, away.left_bottom() - vec2(6.0, 0.0));
        let text = recording.display().to_string();
        let (font, ink) = (theme::small(), theme::TEXT);
        words(ui, line, Align2::LEFT_CENTER, &text, font, ink);
        let salt = format!("recording-{at}");
        if icon_button(ui, away, &salt, Icon::Cross, Look::Flat, "Without it").clicked() {
            removed = Some(at);
        }
    }
    if let Some(at) = removed {
        sheet.recordings.remove(at);
    }
}

fn start(ui: &mut Ui, shown: &Shown<'_>, sheet: &mut LearnSheet) {
    ui.add_space(4.0);
    caption(ui, "Name, and training steps if not the usual number");
    let place = row(ui, theme::ROW);
    let [name, steps, begin] = layout::columns(place, [2.2, 1.0, 1.4], 8.0);
    let field = |text, id, hint: &'static str, most| {
        TextEdit::singleline(text)
            .id(Id::unique(id))
            .hint_text(hint)
            .margin(egui::Margin::symmetric(8, 6))
            .align(egui::Align2::LEFT_CENTER)
            .char_limit(most)
    };
    ui.place(name, field(&mut sheet.name, "style name", "Name", 60));
    ui.place(steps, field(&mut sheet.steps, "steps", "Steps", 9))
        .on_hover_text("How long it learns; leave it empty for the base's own number.");
    let problem = sheet.problem();
    ui.add_enabled_ui(problem.is_none(), |ui| {
        let look = match problem.is_none() {
            true => Look::Gold,
            false => Look::Plain,
        };
        let response = button(ui, begin, "start learning", "Learn this style", look);
        if let (true, Ok(steps)) = (response.clicked(), sheet.steps()) {
            shown.hands.send(Command::Learn {
                name: sheet.name.trim().to_owned(),
                recordings: std::mem::take(&mut sheet.recordings),
                steps,
            });
            sheet.name.clear();
        }
    });
    if let Some(problem) = problem {
        let text = RichText::new(problem)
            .font(theme::small())
            .color(theme::QUIET);
        ui.add(egui::Label::new(text).wrap());
    }
}

fn runs(ui: &mut Ui, shown: &Shown<'_>, sheet: &mut LearnSheet) {
    let listed = |name: &String| {
        let mut runs = shown.view.runs.iter();
        runs.any(|run| run.run == *name && !run.is_under_way)
    };
    sheet.discarding = sheet.discarding.take().filter(listed);
    if shown.view.runs.is_empty() {
        return;
    }
    ui.add_space(6.0);
    caption(ui, "Not finished");
    for run in &shown.view.runs {
        let place = row(ui, theme::ROW);
        let [line, go, away] = layout::columns(place, [3.4, 1.0, 1.3], 8.0);
        let state = match run.is_under_way {
            true => ", under way",
            false => "",
        };
        let text = format!(
            "{} \u{00b7} {} of {} steps{state}",
            run.name, run.steps_done, run.steps
        );
        let (font, ink) = (theme::body(), theme::TEXT);
        words(ui, line, Align2::LEFT_CENTER, &text, font, ink);
        let is_followed = shown
            .view
            .jobs
            .iter()
            .any(|job| job.kind == JobKind::Learning);
        if run.is_under_way && is_followed {
            continue;
        }
        if sheet.discarding.as_ref() == Some(&run.run) {
            confirm(ui, [go, away], run, shown, sheet);
            continue;
        }
        let (label, tip) = match run.is_under_way {
            true => ("Follow", "Show how far it is, and be able to stop it"),
            false => ("Go on", "Learn on from where it stopped"),
        };
        let response = button(ui, go, &format!("run-{}", run.run), label, Look::Plain);
        if response.on_hover_text(tip).clicked() {
            shown.hands.send(Command::ResumeLearning(run.run.clone()));
        }
        let tip = format!(
            "Delete the run {:?}, with what it has learned; the recordings themselves stay",
            run.run
        );
        let salt = format!("delete-{}", run.run);
        if !run.is_under_way
            && button(ui, away, &salt, "Delete", Look::Plain)
                .on_hover_text(tip)
                .clicked()
        {
            sheet.discarding = Some(run.run.clone());
        }
    }
}

/// Deletes hours of training, so that it is asked; a second click at the same place deletes nothing.
fn confirm(
    ui: &mut Ui,
    [yes, no]: [Rect; 2],
    run: &RunInfo,
    shown: &Shown<'_>,
    sheet: &mut LearnSheet,
) {
    let delete = button(
        ui,
        yes,
        &format!("really-{}", run.run),
        "Delete it",
        Look::Gold,
    );
    let keep = button(ui, no, &format!("keep-{}", run.run), "Keep it", Look::Plain);
    if delete.clicked() {
        shown.hands.send(Command::DiscardRun(run.run.clone()));
    }
    if delete.clicked() || keep.clicked() {
        sheet.discarding = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_learned_comes_back_once() {
        let request = LearnRequest {
            name: "harbour".to_owned(),
            recordings: vec!["/m/harbour".into()],
            base: "embedded".to_owned(),
            steps: None,
        };
        let mut sheet = LearnSheet::default();
        sheet.give_back(None);
        sheet.give_back(Some(&(1, request.clone())));
        assert_eq!(
            (sheet.name.as_str(), &sheet.recordings),
            ("harbour", &request.recordings)
        );
        sheet.recordings.clear();
        sheet.give_back(Some(&(1, request.clone())));
        assert!(sheet.recordings.is_empty(), "it was taken out by hand");
        sheet.add(vec!["/m/dawn.wav".into()]);
        sheet.give_back(Some(&(2, request)));
        assert_eq!(
            sheet.recordings,
            [PathBuf::from("/m/dawn.wav")],
            "something else was gathered"
        );
    }

    #[test]
    fn a_sheet_says_what_is_missing() {
        let mut sheet = LearnSheet::default();
        assert!(sheet.problem().is_some_and(|text| text.contains("Drop")));
        sheet.add(vec!["/m/dawn.wav".into(), "/m/dawn.wav".into()]);
        assert_eq!((sheet.recordings.len(), sheet.name.as_str()), (1, "dawn"));
        assert_eq!(sheet.problem(), None);
        sheet.path = " /nowhere/at all ".to_owned();
        sheet.add_written();
        assert_eq!(
            (sheet.recordings.len(), sheet.path.len()),
            (1, 17),
            "it stays to be mended"
        );
        assert!(
            sheet
                .path_problem
                .as_deref()
                .is_some_and(|text| text.contains("no such"))
        );
        sheet.path = std::env::temp_dir().display().to_string();
        sheet.add_written();
        assert_eq!((sheet.recordings.len(), sheet.path.as_str()), (2, ""));
        sheet.recordings.pop();
        sheet.steps = "many".to_owned();
        assert!(sheet.problem().is_some_and(|text| text.contains("1500")));
        sheet.steps = " 300 ".to_owned();
        assert_eq!(sheet.steps(), Ok(Some(300)));
    }
}
