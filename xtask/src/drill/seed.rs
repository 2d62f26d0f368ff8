//! Numbers for the times of faults: the same for the same seed, on every machine.

use std::time::Duration;

/// A SplitMix64 sequence.
#[derive(Debug, Clone)]
pub(crate) struct Seed(u64);

impl Seed {
    /// A sequence of its own for each case, so that one case alone repeats what it did among the others.
    pub(crate) fn of(seed: u64, case: &str) -> Self {
        let mixed = case.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        Self(mixed)
    }

    /// Another sequence, for what happens beside.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    /// A time between `from` and `to`.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.next() % span.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_cases_differ() {
        let draw = |case: &str| {
            let mut seed = Seed::of(7, case);
            (0..4).map(|_| seed.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw("F1"), draw("F1"));
        assert_ne!(draw("F1"), draw("F2"));
        let mut seed = Seed::of(7, "F1");
        for _ in 0..100 {
            let (from, to) = (Duration::from_millis(10), Duration::from_millis(20));
            let drawn = seed.between(from, to);
            assert!(drawn >= from && drawn < to);
        }
    }
}
