//! What the spool promises, tried.
