"""Writes tensorboard.tfevents beside this file with TensorBoard's own code (pip install tensorboard; made with 2.21)."""

import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.audio import metadata as audio_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1_700_000_000.0


def scalar(tag, number):
    return summary_pb2.Summary.Value(tag=tag, simple_value=number)


def strings(tag, shape, content, metadata):
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape])
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=content)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)


def text(tag, content):
    return strings(tag, [1], [content.encode()], text_metadata.create_summary_metadata(None, None))


def sound(tag, wav):
    metadata = audio_metadata.create_summary_metadata(None, None, audio_metadata.Encoding.Value("WAV"))
    return strings(tag, [1, 2], [wav, b""], metadata)


def summary(seconds, step, *values):
    return event_pb2.Event(wall_time=START + seconds, step=step, summary=summary_pb2.Summary(value=values))


EVENTS = [
    event_pb2.Event(wall_time=START, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=START, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)),
    summary(0.0, 0, text("settings", "| rank | 8 |")),
    summary(1.5, 1, scalar("loss/training", 0.75), scalar("learning_rate", 0.0)),
    summary(2.5, 300, scalar("loss/training", float("inf"))),
    summary(3.5, 70_000, sound("preview/seed_3/with_adapter", b"RIFF....WAVE")),
]

with open(pathlib.Path(__file__).with_name("tensorboard.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(event.SerializeToString())
    writer.flush()
