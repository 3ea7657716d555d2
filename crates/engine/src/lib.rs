//! Decides and does: reconcile, operations, healing
