"""Prints what TensorBoard finds in a folder, as JSON: python tensorboard_reads.py FOLDER (needs `pip install tensorboard`)."""

import hashlib
import json
import sys

from tensorboard.backend.event_processing import event_accumulator

events = event_accumulator.EventAccumulator(
    sys.argv[1], size_guidance={event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
)
events.Reload()


def strings(plugin):
    """Step, and the tensor's strings, of each point of each tag that the plugin shows."""
    return {tag: [[p.step, p.tensor_proto.string_val] for p in events.Tensors(tag)] for tag in events.PluginTagToContent(plugin)}


found = {
    "scalars": {tag: [[p.step, p.wall_time, p.value] for p in events.Scalars(tag)] for tag in events.Tags()["scalars"]},
    "texts": {tag: [[step, text[0].decode()] for step, text in points] for tag, points in strings("text").items()},
    "sounds": {
        tag: [[step, "sha256:" + hashlib.sha256(wav).hexdigest(), label.decode()] for step, (wav, label) in points]
        for tag, points in strings("audio").items()
    },
}
json.dump(found, sys.stdout)
