//! `--quickstart`: a first start with something to see, and runs printed as they happen.
