//! Against providers over HTTP: our own pretended Stripe with its faults, and another project's.
