//! The seam between the store and the file system: it lies with the log, which stands on it too.

pub use novax_log::{Disk, DiskLock, DiskRead, DiskSegment, DiskWrite, RealDisk};

pub(crate) use novax_log::read_all;
