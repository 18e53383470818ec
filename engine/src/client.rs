//! The conversation with one plugin: a thread that reads and one that writes.

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::framing::{self, FrameReader, Received};
use protocol::socket::Stream;
use protocol::{FromEngine, JobId, PROTOCOL_VERSION, Problem, ProblemKind, ToEngine};

use crate::VERSION;
use crate::hub::{Hub, Learn};
use crate::making;
use crate::outbox::{Next, Outbox};
use crate::problem::problem;
use crate::queue::ClientId;
use crate::runs::{self, Run};

/// How long a client may take to say who it is.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one may not read before it counts as gone.
const READING_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest name of a client in the log.
const MOST_NAME_CHARS: usize = 200;

/// Serves a client until it is gone.
pub(crate) fn serve(hub: &Arc<Hub>, stream: Stream) {
    let mut frames = FrameReader::default();
    let stream = Arc::new(stream);
    let Some(name) = greet(&stream, &mut frames) else {
        return;
    };
    let outbox = Arc::new(Outbox::default());
    outbox.put(FromEngine::Welcome {
        engine: VERSION.to_owned(),
    });
    let Some(client) = hub.join(Arc::clone(&outbox)) else {
        let reason = "the engine ends, or has too many clients; try again".to_owned();
        let _ = framing::write(&mut &*stream, &FromEngine::Refused { reason });
        return;
    };
    tracing::info!(client, name, "connected");
    let writer = {
        let (stream, outbox) = (Arc::clone(&stream), Arc::clone(&outbox));
        let writer = std::thread::Builder::new().name(format!("writer {client}"));
        writer.spawn(move || {
            write_all(&stream, &outbox);
            protocol::socket::hang_up(&stream);
        })
    };
    let Ok(writer) = writer else {
        hub.leave(client);
        return;
    };
    // The writer hangs up when it ends, which ends the wait.
    if let Err(error) = protocol::socket::read_without_timeout(&stream) {
        tracing::warn!(client, "{error}");
    }
    read_all(hub, client, &stream, frames, &outbox);
    hub.leave(client);
    let _ = writer.join();
    tracing::info!(client, "gone");
}

/// The client's name, if it is one of ours.
fn greet(stream: &Stream, frames: &mut FrameReader) -> Option<String> {
    let deadline = Instant::now() + GREETING_TIMEOUT;
    let mut stream = stream;
    loop {
        match frames.next(&mut stream) {
            Ok(Received::Message(ToEngine::Hello { protocol, client }))
                if protocol == PROTOCOL_VERSION =>
            {
                let name = client.chars().filter(|letter| !letter.is_control());
                return Some(name.take(MOST_NAME_CHARS).collect());
            }
            Ok(Received::Message(ToEngine::Hello { protocol, .. })) => {
                let reason = format!(
                    "the plugin speaks version {protocol} of the protocol, the engine (Lorelei {VERSION}) version {PROTOCOL_VERSION}; install plugin and engine of one version"
                );
                tracing::warn!("refused: {reason}");
                let _ = framing::write(&mut stream, &FromEngine::Refused { reason });
                return None;
            }
            Ok(Received::NothingYet) if Instant::now() < deadline => {}
            Ok(Received::NothingYet | Received::End) => return None,
            Ok(Received::Message(_)) => {
                let reason = "the first message must say hello".to_owned();
                let _ = framing::write(&mut stream, &FromEngine::Refused { reason });
                return None;
            }
            Err(error) => {
                tracing::warn!("a connection that is no plugin's: {error}");
                return None;
            }
        }
    }
}

fn read_all(
    hub: &Arc<Hub>,
    client: ClientId,
    stream: &Stream,
    mut frames: FrameReader,
    outbox: &Outbox,
) {
    let mut stream = stream;
    while !outbox.is_closed() {
        match frames.next::<ToEngine>(&mut stream) {
            Ok(Received::Message(message)) => {
                let answered = catch_unwind(AssertUnwindSafe(|| answer(hub, client, message)));
                if answered.is_err() {
                    tracing::error!(client, "a message could not be answered");
                }
            }
            Ok(Received::NothingYet) => {}
            Ok(Received::End) => return,
            Err(error) => {
                tracing::warn!(client, "{error}");
                return;
            }
        }
    }
}

fn answer(hub: &Arc<Hub>, client: ClientId, message: ToEngine) {
    let failed = |job: JobId, problem: Problem| {
        tracing::info!(client, job, "refused: {}", problem.text);
        hub.send(client, FromEngine::Failed { job, problem });
    };
    match message {
        ToEngine::Hello { .. } => {}
        ToEngine::ListBases => {
            let bases = crate::bases::list();
            hub.send(client, FromEngine::Bases { bases });
        }
        ToEngine::ListAdapters => tell_adapters(hub, client),
        ToEngine::AddAdapter { job, path } => match hub.shelf.look_at(&path) {
            Ok(_) => {
                hub.add(client, path);
                tell_adapters(hub, client);
            }
            Err(problem) => failed(job, problem),
        },
        ToEngine::Generate { job, recipe } => {
            let asked = recipe
                .validate()
                .map_err(|error| problem(ProblemKind::BadRequest, error.to_string()))
                .and_then(|()| match making::at_hand(hub, &recipe)? {
                    Some((clip, recipe)) => {
                        hub.also_hold(client, &clip.key);
                        let recipe = Box::new(recipe);
                        hub.send(client, FromEngine::Made { job, clip, recipe });
                        Ok(())
                    }
                    None => hub.make(client, job, *recipe),
                });
            if let Err(problem) = asked {
                failed(job, problem);
            }
        }
        ToEngine::Learn { job, request } => {
            let asked = runs::check(&request);
            let asked = asked.and_then(|()| hub.learn(client, job, Learn::New(request)));
            if let Err(problem) = asked {
                failed(job, problem);
            }
        }
        ToEngine::ResumeLearning { job, run } => {
            if let Err(problem) = hub.learn(client, job, Learn::Resume(run)) {
                failed(job, problem);
            }
        }
        ToEngine::ListRuns => tell_runs(hub, &[client]),
        ToEngine::DiscardRun { job, run } => {
            if let Err(problem) = discard_run(hub, &run) {
                failed(job, problem);
            }
            tell_all_runs(hub);
        }
        ToEngine::Cancel { job } => hub.cancel(client, job),
        ToEngine::Hold { keys, inputs } => hub.hold(client, keys, inputs),
    }
}

/// Lists the trainings that are not finished, to everybody: one began or ended, or is deleted.
pub(crate) fn tell_all_runs(hub: &Hub) {
    tell_runs(hub, &hub.clients());
}

fn tell_runs(hub: &Hub, clients: &[ClientId]) {
    // One list after the other, so that the newest arrives last.
    let _turn = hub.turn_to_tell_runs();
    let runs = runs::list(&hub.places, hub.run_under_way().as_deref());
    for client in clients {
        let runs = runs.clone();
        hub.send(*client, FromEngine::Runs { runs });
    }
}

fn discard_run(hub: &Hub, name: &str) -> Result<(), Problem> {
    let run = Run::named(&hub.places, name)?;
    let refuse = |text: &str| Err(problem(ProblemKind::BadRequest, text));
    if run.is_finished() {
        return refuse(
            "this training is finished: its adapter is in the list, and its report stays",
        );
    }
    if run.is_locked() || !hub.begin_discarding(name) {
        return refuse("this training is under way, or waits; stop it first");
    }
    tracing::info!("training {name} is deleted");
    let discarded = run.discard();
    hub.end_discarding(name);
    discarded
}

/// Lists the user's adapters and those that the client has named.
pub(crate) fn tell_adapters(hub: &Hub, client: ClientId) {
    let adapters = hub.shelf.list(&hub.added(client));
    hub.send(client, FromEngine::Adapters { adapters });
}

fn write_all(stream: &Stream, outbox: &Outbox) {
    loop {
        let message = match outbox.next() {
            Next::Message(message) => message,
            Next::Closed => return,
        };
        let mut bytes = Vec::new();
        if let Err(error) = framing::write(&mut bytes, &*message) {
            tracing::error!("a message is not sent: {error}");
            continue;
        }
        if let Err(error) = write_patiently(stream, &bytes) {
            tracing::debug!("a client does not read: {error}");
            outbox.close();
            return;
        }
    }
}

/// Writes all of it to a client that may be slow.
fn write_patiently(mut stream: &Stream, mut bytes: &[u8]) -> std::io::Result<()> {
    let mut moved_at = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                moved_at = Instant::now();
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut
                    if moved_at.elapsed() < READING_TIMEOUT => {}
                _ => return Err(error),
            },
        }
    }
    Ok(())
}
