//! What a session costs.
