//! How much of this machine's processors other virtual machines had in the meantime.
//!
//! Linux counts the time in which a processor had work and the host ran somebody else: column `steal` of `/proc/stat` (proc(5)). A server
//! on such a machine is slow through no fault of its own. Called by `capacity`.

/// Processor time since the machine started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// As of now; `None` where it is not known.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Of the first line: user, nice, system, idle, iowait, irq, softirq and steal. What follows is part of user and nice.
    fn parse(text: &str) -> Option<Self> {
        let ticks = text.strip_prefix("cpu ")?.lines().next()?.split_whitespace();
        let ticks = ticks.take(8).map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        Some(Self {
            all: ticks.iter().sum(),
            stolen: *ticks.get(7)?,
        })
    }

    /// Share of all processors' time since `before` that was stolen, 0 to 1.
    #[expect(clippy::as_conversions, reason = "ticks are far below 2^52")]
    pub(crate) fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_all_processors_and_all_they_did() -> anyhow::Result<()> {
        let read = |text| Ticks::parse(text).ok_or_else(|| anyhow::anyhow!("not understood"));
        let before = read("cpu  100 10 20 1000 5 0 5 40 7 3\ncpu0 50 5 10 500 0 0 0 20 0 0\n")?;
        let after = read("cpu  150 10 30 1020 5 0 5 60 57 3\n")?;
        assert!((after.stolen_since(before) - 0.2).abs() < 1e-9);
        assert!(after.stolen_since(after).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn what_is_not_counted_is_not_known() {
        for text in [
            "",
            "cpu",
            "cpu  1 2 3 4 5 6 7\n",
            "cpu  1 2 3 four 5 6 7 8\n",
            "intr 1 2 3 4 5 6 7 8\n",
        ] {
            assert_eq!(Ticks::parse(text), None, "{text}");
        }
    }
}
