use std::fmt;

use serde::Serialize;

use crate::measure::Measured;

/// One case: what was measured, and the floor beside it.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was counted.
    pub(crate) case: &'static str,
    /// Transport compression of the Gateway.
    pub(crate) compression: &'static str,
    /// Bytes of one event or answer on the wire, on average.
    pub(crate) bytes: u64,
    /// How many a second, by the wall clock.
    pub(crate) per_second: u64,
    /// How many a second of the serving thread's CPU time: what one core does when nothing else wants it.
    pub(crate) per_cpu_second: u64,
    /// The same of the floor: the same bytes, uncompressed, through a bare server loop.
    pub(crate) floor_per_second: u64,
    /// The same of the floor.
    pub(crate) floor_per_cpu_second: u64,
    /// `per_cpu_second` over the floor's.
    pub(crate) ratio: f64,
    /// The machine runs other things too, and the load of this very case.
    pub(crate) shared_machine: bool,
}

impl Figure {
    pub(crate) const HEAD: &str = "case              compression   bytes   per second  per cpu-second  floor, same two      ratio";

    pub(crate) fn new(
        case: &'static str,
        compression: &'static str,
        done: &Measured,
        floor: &Measured,
    ) -> Self {
        Self {
            case,
            compression,
            bytes: done.bytes.checked_div(done.count).unwrap_or(0),
            per_second: done.per_second(),
            per_cpu_second: done.per_cpu_second(),
            floor_per_second: floor.per_second(),
            floor_per_cpu_second: floor.per_cpu_second(),
            ratio: (done.per_cpu_second() as f64 / floor.per_cpu_second().max(1) as f64 * 1000.0)
                .round()
                / 1000.0,
            shared_machine: true,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<17} {:<11} {:>7} {:>12} {:>15} {:>9} {:>9} {:>8.3}",
            self.case,
            self.compression,
            self.bytes,
            self.per_second,
            self.per_cpu_second,
            self.floor_per_second,
            self.floor_per_cpu_second,
            self.ratio
        )
    }
}
