//! The images to begin with: what `dispatch create seed-images` creates and a first start can use.

/// Base images and images as YAML documents, those that are needed before those that need them.
pub const SEED_IMAGES: &str = include_str!("seed.yaml");
