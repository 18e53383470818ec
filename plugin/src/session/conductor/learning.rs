//! Adapters: choosing files of them, and training new ones.

use std::path::PathBuf;

use protocol::LearnRequest;
use protocol::messages::MOST_RECORDINGS;

use super::generating::Work;
use super::{Conductor, MessageKind};
use crate::project::ChosenAdapter;

impl Conductor {
    /// Looks a dropped file up; it is chosen when the engine has read it.
    pub(super) fn add_adapter_file(&mut self, path: PathBuf) {
        self.ask(Work::AddAdapter(path));
    }

    /// Chooses those files of [`Work::AddAdapter`] which the engine has listed by now.
    pub(super) fn choose_added(&mut self) {
        let waiting: Vec<(u64, PathBuf)> = self
            .jobs
            .iter()
            .filter_map(|job| match &job.work {
                Work::AddAdapter(path) => Some((job.id, path.clone())),
                _ => None,
            })
            .collect();
        for (id, path) in waiting {
            let adapters = self.view.adapters.iter();
            let Some(found) = adapters.clone().find(|adapter| adapter.path == path) else {
                continue;
            };
            let base = self.with_project(|project| project.base.clone());
            let (problem, chosen) = (
                found.unfit_for(&base),
                ChosenAdapter {
                    path: found.path.clone(),
                    name: found.name.clone(),
                    sha256: Some(found.sha256.clone()),
                },
            );
            self.end_job(id);
            match problem {
                Some(problem) => {
                    let problem = self.without_folders(problem);
                    let text = format!("“{}” cannot be used: {problem}", chosen.name);
                    self.tell(MessageKind::Problem, text);
                }
                None => self.choose(chosen),
            }
        }
    }

    fn choose(&mut self, adapter: ChosenAdapter) {
        let name = adapter.name.clone();
        let is_chosen = self.with_project(|project| {
            // The file of one that was missing takes its place.
            let is_same = |place: &Option<ChosenAdapter>| {
                place.as_ref().is_some_and(|old| {
                    old.sha256 == adapter.sha256 && old.path != adapter.path && !old.path.is_file()
                })
            };
            let places = &mut project.adapters;
            let place = places.iter().position(is_same);
            let place = place.or_else(|| places.iter().position(Option::is_none));
            place.map(|place| places[place] = Some(adapter)).is_some()
        });
        self.look_for_adapters();
        if !is_chosen {
            self.tell(
                MessageKind::Note,
                format!("“{name}” is in the list; all four places are taken, so it is not chosen."),
            );
        }
    }

    pub(super) fn learn(&mut self, name: String, recordings: Vec<PathBuf>, steps: Option<u32>) {
        let base = self.with_project(|project| project.base.clone());
        let request = LearnRequest {
            name,
            recordings,
            base,
            steps,
        };
        let count = request.recordings.len();
        if !(1..=MOST_RECORDINGS).contains(&count) {
            self.give_recordings_back(&Work::Learn(request));
            self.tell(
                MessageKind::Problem,
                format!(
                    "{count} recordings cannot be learned from; give 1 to {MOST_RECORDINGS} files or folders.",
                ),
            );
            return;
        }
        self.ask(Work::Learn(request));
    }

    /// What a training that did not begin was asked to learn goes back to the editor. One that began is among the runs that can go on.
    pub(super) fn give_recordings_back(&mut self, work: &Work) {
        if let Work::Learn(request) = work {
            let earlier = self.view.not_learned.as_ref();
            let number = earlier.map_or(0, |(number, _)| *number) + 1;
            self.view.not_learned = Some((number, request.clone()));
        }
    }

    pub(super) fn discard_run(&mut self, run: String) {
        self.ask(Work::Discard(run));
    }

    /// Ends those deletions whose run is not listed any more.
    pub(super) fn end_discarding(&mut self) {
        let runs = &self.view.runs;
        self.jobs.retain(|job| match &job.work {
            Work::Discard(discarded) => runs.iter().any(|run| run.run == *discarded),
            _ => true,
        });
    }

    pub(super) fn resume_learning(&mut self, run: String) {
        self.ask(Work::Resume(run));
    }
}
