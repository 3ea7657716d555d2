//! A host in memory that fails, lags and crashes, for tests and measurements.
