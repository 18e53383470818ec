//! Did the adapter work? The lora-eval command
