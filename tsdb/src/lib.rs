//! Columnar compression of meter series: chunks of device ticks.
