//! All that we know of OpenClaw: config, ports, probes, exit codes, RPC
