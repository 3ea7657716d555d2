//! The worker process: its protocol, supervision and end.

mod child;
mod parent;
mod pipe;
mod talk;
mod work;

pub(crate) use child::hurry;
pub use child::run_worker;
pub use parent::{Running, Workers};
pub(crate) use talk::Talk;
