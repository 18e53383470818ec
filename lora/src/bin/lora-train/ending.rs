//! How the program ends: alone by its exit code, among others so that none of them waits for it.

use std::process::ExitCode;

use anyhow::Result;
use lora::LoraError;
use lora::terminal::{STOPPED_EXIT_CODE, exit_with};
use lora::train::Ensemble;

/// What a run that did not fail came to.
pub(crate) enum Ended {
    /// All was done.
    Done,
    /// A stop was asked for, and the run is saved.
    Stopped,
}

/// Leaves the other processes, or ends them if this one failed: they would wait for it for ever.
pub(crate) fn end(ensemble: &dyn Ensemble, result: Result<Ended>) -> ExitCode {
    let among_others = ensemble.size() > 1;
    let result = match result {
        Ok(ended) => ensemble.leave().map(|()| ended).map_err(Into::into),
        Err(error) if among_others => Err(error.context(whose(ensemble))),
        Err(error) => Err(error),
    };
    let (code, result) = match result {
        Ok(Ended::Done) => return ExitCode::SUCCESS,
        // mpirun ends all when one reports a failure, so that the first alone tells how it ended.
        Ok(Ended::Stopped) if !ensemble.is_first() => return ExitCode::SUCCESS,
        Ok(Ended::Stopped) => return STOPPED_EXIT_CODE.into(),
        Err(error) if is_stop(&error) => (STOPPED_EXIT_CODE, Err(LoraError::Stopped.into())),
        Err(error) => (1, Err(error)),
    };
    let exit = exit_with(result);
    if among_others {
        ensemble.abort(code);
    }
    exit
}

fn whose(ensemble: &dyn Ensemble) -> String {
    format!("process {} of {}", ensemble.rank(), ensemble.size())
}

fn is_stop(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LoraError::Stopped))
}
