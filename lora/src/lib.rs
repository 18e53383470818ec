//! Adapters: training, file format, generation; the lora-train and lora-infer commands
