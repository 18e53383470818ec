//! The messages of an event file. Field numbers are those of TensorFlow's `event.proto`, `summary.proto`, `tensor.proto` and
//! `tensor_shape.proto`.

use super::protobuf::Message;

/// The version that TensorBoard looks for in a file's first event.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.SessionStatus.START`: drops from view what an earlier file said of later steps.
const SESSION_START: u64 = 1;
/// `AudioPluginData.Encoding.WAV`.
const ENCODING_WAV: u64 = 11;
/// `DataType.DT_STRING`.
const TYPE_STRING: u64 = 7;

/// One thing to show.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A point of a curve.
    Scalar { tag: String, number: f64 },
    /// Markdown.
    Text { tag: String, text: String },
    /// A WAV file.
    Sound { tag: String, wav: Vec<u8> },
}

/// A file's first event.
pub(super) fn version(unix_secs: f64) -> Vec<u8> {
    Message::new()
        .double(1, unix_secs)
        .text(3, FILE_VERSION)
        .into_bytes()
}

/// A file's second event.
pub(super) fn session_start(unix_secs: f64) -> Vec<u8> {
    let log = Message::new().integer(1, SESSION_START);
    Message::new()
        .double(1, unix_secs)
        .message(7, &log)
        .into_bytes()
}

/// All that is to be shown of one moment.
pub(super) fn summary(unix_secs: f64, step: usize, values: &[Value]) -> Vec<u8> {
    let summary = values.iter().fold(Message::new(), |message, value| {
        message.message(1, &value_message(value))
    });
    let event = Message::new().double(1, unix_secs);
    // Zero is the default, which the official libraries leave out.
    let event = if step == 0 {
        event
    } else {
        event.integer(2, step as u64)
    };
    event.message(5, &summary).into_bytes()
}

fn value_message(value: &Value) -> Message {
    match value {
        Value::Scalar { tag, number } => Message::new().text(1, tag).float(2, *number as f32),
        Value::Text { tag, text } => {
            let plugin = Message::new().text(1, "text");
            strings(tag, &[1], &[text.as_bytes()], plugin)
        }
        // The older form, `Summary.Audio`, is sent to browsers without telling them that it is sound.
        Value::Sound { tag, wav } => {
            let content = Message::new().integer(2, ENCODING_WAV);
            let plugin = Message::new().text(1, "audio").message(2, &content);
            let label = b"";
            strings(tag, &[1, 2], &[wav, label], plugin)
        }
    }
}

/// A tensor of strings, and the part of TensorBoard that shows it.
fn strings(tag: &str, shape: &[u64], strings: &[&[u8]], plugin: Message) -> Message {
    let dimensions = shape.iter().fold(Message::new(), |message, size| {
        message.message(2, &Message::new().integer(1, *size))
    });
    let tensor = Message::new()
        .integer(1, TYPE_STRING)
        .message(2, &dimensions);
    let tensor = strings
        .iter()
        .fold(tensor, |message, string| message.bytes(8, string));
    Message::new()
        .text(1, tag)
        .message(8, &tensor)
        .message(9, &Message::new().message(1, &plugin))
}

#[cfg(test)]
mod tests {
    use super::super::framing::tests::messages_of;
    use super::*;

    /// The file holds what TensorBoard's own code made of the same values (`tests/golden/make.py`).
    #[test]
    fn events_equal_those_of_tensorboard_byte_by_byte() {
        let scalar = |tag: &str, number| Value::Scalar {
            tag: tag.to_owned(),
            number,
        };
        let text = |tag: &str, text: &str| Value::Text {
            tag: tag.to_owned(),
            text: text.to_owned(),
        };
        let sound = Value::Sound {
            tag: "preview/seed_3/with_adapter".to_owned(),
            wav: b"RIFF....WAVE".to_vec(),
        };
        let scalars = [scalar("loss/training", 0.75), scalar("learning_rate", 0.0)];
        let expected = [
            version(1_700_000_000.0),
            session_start(1_700_000_000.0),
            summary(1_700_000_000.0, 0, &[text("settings", "| rank | 8 |")]),
            summary(1_700_000_001.5, 1, &scalars),
            summary(
                1_700_000_002.5,
                300,
                &[scalar("loss/training", f64::INFINITY)],
            ),
            summary(1_700_000_003.5, 70_000, &[sound]),
        ];
        let real = include_bytes!("../../tests/golden/tensorboard.tfevents");
        for (index, (ours, theirs)) in expected.iter().zip(messages_of(real)).enumerate() {
            assert_eq!(ours, theirs, "event {index}");
        }
    }
}
