//! Tests of the codecs through their public face.

mod frames;
mod http;
mod messages;
mod meter;
mod ws;
