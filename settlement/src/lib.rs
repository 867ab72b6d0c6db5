//! Who gets what of a session.
