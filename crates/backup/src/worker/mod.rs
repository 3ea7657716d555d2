//! The process that works: how it is asked, watched and ended.

mod child;
mod parent;
mod pipe;
mod talk;

pub use child::run_worker;
pub use parent::{Running, Workers};
pub(crate) use talk::Talk;
