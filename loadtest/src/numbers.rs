//! Conversions between whole and real numbers, and random numbers that come again. Called by `simulate` and `plan`.

/// Random numbers that are the same for the same seed (splitmix64, Steele and others 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence number `part` of `seed`: parts do not depend on each other.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut mixed = Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95));
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// 0 to 1, without 1.
    pub(crate) fn share(&mut self) -> f64 {
        ratio(self.next() >> 12, 1 << 52)
    }

    /// Exponentially distributed around `mean`.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.share()).ln() * mean
    }
}

/// `part / all`; 0 without any.
pub(crate) fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { real(part) / real(all) }
}

#[expect(clippy::as_conversions, reason = "counts and virtual nanoseconds, far below 2^52 or exact enough")]
pub(crate) fn real(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::as_conversions, reason = "saturating conversion, cut to a whole number, is what is wanted")]
pub(crate) fn whole(x: f64) -> u64 {
    x as u64
}

/// A length or a number of things.
pub(crate) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// A number of things as a length.
pub(crate) fn length(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Seconds as virtual nanoseconds.
pub(crate) fn nanos(seconds: f64) -> u64 {
    whole(seconds * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_fill_their_range_and_come_again() {
        let (mut one, mut same, mut other) = (Random::new(7, 1), Random::new(7, 1), Random::new(7, 2));
        let shares: Vec<f64> = (0..10_000).map(|_| one.share()).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        let mean = shares.iter().sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!(shares.iter().take(100).all(|share| (same.share() - share).abs() < f64::EPSILON));
        assert!((other.share() - shares.first().copied().unwrap_or(0.0)).abs() > 1e-9);
        let mean = (0..10_000).map(|_| one.exponential(3.0)).sum::<f64>() / 1e4;
        assert!((mean - 3.0).abs() < 0.15, "{mean}");
    }
}
