//! Instances as Docker containers on this machine.
