//! The database: every line of SQL, and the migrations
