//! Plans that run on several workers give the rows of one machine: the shapes that our SQL has, over
//! tiny tables that are divided all the same. And faults of the engine between the workers, that we
//! avoid: each test of one says when an upgrade has mended it.
//!
//! Needs the feature `cluster`; without it nothing is here.

#![cfg(feature = "cluster")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test makes a session of its own")]

mod faults;
mod shapes;
mod tables;

#[path = "../workers/mod.rs"]
mod workers;
